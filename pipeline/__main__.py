"""`python -m pipeline`: the command `qnn` where the package was shipped rather than installed."""

from pipeline.commands.cli import command

command()
