"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(help="The sweep's YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the config."),
]
RayAddress = Annotated[
    str | None, typer.Option(help="A running Ray cluster (default: start one here).")
]
Cpus = Annotated[
    int | None, typer.Option(min=1, help="CPUs of the Ray started here (default: all).")
]
