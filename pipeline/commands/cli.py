"""The command `qnn`.

Heavy imports (Ray, MLflow, the solvers) stay inside the commands that need them, so that `--help`
and `--dry-run` answer at once.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.commands.bell import bell
from pipeline.commands.csp import csp
from pipeline.commands.jobs import doctor, jobs_app, submit
from pipeline.commands.options import ConfigFile, Cpus, Overrides, RayAddress
from pipeline.commands.predict import predict
from pipeline.commands.quantize import quantize
from pipeline.commands.robustness import robustness
from pipeline.commands.schema import schema
from pipeline.logs.redact import redact
from qnn.errors import InputError, QnnError

FAILED, BAD_INPUT = 1, 2

app = typer.Typer(
    name="qnn",
    help="Train quantized networks with certificates of how far from optimal they can be.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(asked: bool) -> None:
    if asked:
        try:
            print(f"qnn {version('qnn-sdp')}")
        except PackageNotFoundError:
            print("qnn, not installed as a package")
        raise typer.Exit


@app.callback()
def _qnn(
    told: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def sweep(
    config: ConfigFile,
    out: Annotated[
        str | None, typer.Option(help="Folder or URI of the results (default: out/<name>).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and stop; starts nothing.")
    ] = False,
    address: RayAddress = None,
    overrides: Overrides = None,
    max_failures: Annotated[
        int, typer.Option(min=0, help="Failed trials up to which the exit code is still 0.")
    ] = 0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Compute finished paths with failed rows again.")
    ] = False,
    cpus: Cpus = None,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option("--log-format", help="Log lines on stderr (default: QNN_LOG, or text)."),
    ] = None,
) -> None:
    """Run a sweep, or go on with one that was interrupted."""
    if log_format is not None:
        # Workers of a Ray started here see it too.
        os.environ["QNN_LOG"] = log_format
    if dry_run:
        _print_plan(config, overrides or [], out)
        return
    from pipeline.commands.sweep import sweep_command

    sys.exit(
        sweep_command(
            config,
            out,
            overrides or [],
            address=address,
            cpus=cpus,
            max_failures=max_failures,
            retry_failed=retry_failed,
        )
    )


@app.command()
def verify(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR|FILE...", help="Run folders, certificates, networks.", show_default=False
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="What single files speak of, where it does not lie beside them: training matrix "
            "(parquet), network, problem or decoder (npz)."
        ),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Skip what takes long (enumerations, searches, beta_max, Bell verdicts), and say "
            "so.",
        ),
    ] = False,
) -> None:
    """Prove certificates and networks again from their files; exit 1 if any fails."""
    from pipeline.commands.sweep import verify_command

    sys.exit(verify_command(paths, data, fast))


@app.command()
def report(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="A run's folder.", show_default=False)
    ],
) -> None:
    """Make report.html again from a run's files alone."""
    from pipeline.commands.sweep import say_move
    from pipeline.plans.studies import study_of_folder
    from pipeline.results.folder import RunFolder

    say_move(folder)
    run = RunFolder.open(folder)
    print(study_of_folder(run).write_report(run))


@app.command()
def retrain(
    config: Annotated[
        Path,
        typer.Argument(help="The sweep's YAML file, with a section `retrain`.", show_default=False),
    ],
    out: Annotated[
        str | None,
        typer.Option(help="Folder (or URI) of the runs and the state (default: out/<name>)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Explain what would be done and stop.")
    ] = False,
    address: RayAddress = None,
    overrides: Overrides = None,
    cpus: Cpus = None,
) -> None:
    """Train again if there are new data; promote what passes the gates, exit 3 if one refuses."""
    from pipeline.commands.retraining import retrain_command

    sys.exit(
        retrain_command(config, out, overrides or [], dry_run=dry_run, address=address, cpus=cpus)
    )


@app.command()
def rollback(
    model: Annotated[str, typer.Argument(help="The registered model's name.", show_default=False)],
    uri: Annotated[
        str | None,
        typer.Option(help="MLflow's address, or a folder with mlflow.db (MLFLOW_TRACKING_URI)."),
    ] = None,
) -> None:
    """Put the alias `champion` back on the version before, and say what moved."""
    from pipeline.commands.retraining import rollback_command

    sys.exit(rollback_command(model, uri))


@app.command()
def export(
    network: Annotated[
        Path, typer.Argument(help="A network's file (networks/….npz).", show_default=False)
    ],
    format: Annotated[str, typer.Option("--format", help="onnx, c or json.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: the network's name, here).")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help="One class or target of several (its number from 0 where unnamed)."),
    ] = None,
) -> None:
    """Write a network as ONNX, as a C99 header with an example program, or as JSON."""
    from qnn.networks.exports import FORMATS, export_network
    from qnn.networks.quantized import QuantizedNetwork
    from qnn.networks.stacks import single_output

    suffix = FORMATS[format][0] if format in FORMATS else ""
    target = out or Path(f"{network.stem}{suffix}")
    whole = QuantizedNetwork.load(network)
    written = whole if output is None else single_output(whole, output)
    for file in export_network(written, format, target):
        print(file)


@app.command()
def compare(
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...", help="Folders of sweeps with baselines.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("comparison.html"),
    figure: Annotated[Path | None, typer.Option(help="Where the main figure goes, as PNG.")] = None,
) -> None:
    """Make one page that compares our networks with the baselines of sweeps."""
    from pipeline.reports.comparison.page import write_comparison

    print(write_comparison(folders, out, figure))


for _own in (predict, robustness, quantize, csp, bell, schema, submit, doctor):
    app.command()(_own)
app.add_typer(jobs_app)


def _print_plan(path: Path, overrides: list[str], out: str | None) -> None:
    """Print the plan, and what the data gave to say that is not in it."""
    from pipeline.logs.console import held_back

    with held_back() as held:
        text = _plan_text(path, overrides, out)
    for notice in held:
        if notice not in text:
            print(f"note: {notice}", file=sys.stderr)
    print(text)


def _plan_text(path: Path, overrides: list[str], out: str | None) -> str:
    """The plan; with a folder also how much of it is there already."""
    from pipeline.configuration.paths import refuse_unknown_tracking
    from pipeline.configuration.reading import load_config
    from pipeline.plans.studies import study_of_file

    if out is not None:
        _refuse_file(out)
    study = study_of_file(path)
    unsettled: tuple[Any, ...] = ()
    lines: list[str] = []
    if study.name == "training":
        from pipeline.studies.training.automatic import foreseen

        config, unsettled, lines = foreseen(path, overrides, out)
    else:
        config = load_config(path, overrides, study.config)
    refuse_unknown_tracking(config.tracking.uri)
    prepared = study.prepare(config)
    lines.append(prepared.describe())
    # What is chosen first is no plan yet that a folder could be compared with.
    if out is not None and not unsettled:
        lines.append(_standing_text(out, study, config, prepared))
    return "\n".join(lines)


def _refuse_file(out: str) -> None:
    """As the sweep does; a store that does not answer ends no plan."""
    from pipeline.results.folder import RunFolder

    try:
        RunFolder.to_write(out)
    except InputError as error:
        if not isinstance(error.__cause__, OSError):
            raise


def _standing_text(out: str, study: Any, config: Any, prepared: Any) -> str:
    """How much of a plan a folder has; a store that does not answer ends no plan."""
    from pipeline.logs.messages import one_line
    from pipeline.results.folder import RunFolder
    from pipeline.sweeps.resume import compared

    try:
        return compared(RunFolder.open(out), study, config, prepared)
    except (InputError, OSError) as error:
        if not isinstance(error, OSError) and not isinstance(error.__cause__, OSError):
            raise
        return f"  {'folder':<13}not looked at: {one_line(error)}"


def main() -> None:
    """Entry point: bad input is one line on stderr and exit code 2, as are usage errors.

    So is with exit code 1 what no other input would mend: a folder or a cluster that is away, a
    certificate that a command was about to write and that does not prove its bound.
    """
    try:
        app(prog_name="qnn")
    except QnnError as error:
        print(f"error: {redact(' '.join(str(error).splitlines()))}", file=sys.stderr)
        sys.exit(BAD_INPUT if isinstance(error, InputError) else FAILED)


def command() -> None:
    """`main` as a process of its own: bad input and interrupts end it at once.

    Readers of pyarrow may still be at work in threads of their own then, which the interpreter's
    end aborts now and then, with another exit code; and so does one more Ctrl-C in the seconds that
    this end takes after a sweep.
    """
    from pipeline.sweeps.interrupts import EXIT_CODES

    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, int) and end.code in {BAD_INPUT, *EXIT_CODES}:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise
