"""The commands that talk to a cluster: `qnn submit` and `qnn jobs …`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.commands.options import ConfigFile, Overrides

if TYPE_CHECKING:
    from pipeline.commands.submission.client import Jobs

INTERRUPTED = 130

Address = Annotated[
    str,
    typer.Option(
        help="The cluster's dashboard, as in http://head:8265.",
        envvar="RAY_API_SERVER_ADDRESS",
        show_default=False,
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", show_default=False)]

jobs_app = typer.Typer(
    name="jobs",
    help="Submitted sweeps: list them, read their output, stop them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def submit(
    config: ConfigFile,
    address: Address,
    out: Annotated[
        str | None,
        typer.Option(help="Folder or URI that all nodes share (default: $QNN_OUT/<name>)."),
    ] = None,
    overrides: Overrides = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show the job's output; exit with its code.")
    ] = False,
    image_has_package: Annotated[
        bool, typer.Option("--image-has-package", help="The nodes have qnn: ship the config only.")
    ] = False,
    pip: Annotated[
        Path | None, typer.Option(help="Requirements that Ray installs for the job.")
    ] = None,
    shared_data: Annotated[
        bool, typer.Option("--shared-data", help="All nodes see the data under the same path.")
    ] = False,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Pass a variable on (no secrets).")
    ] = None,
    driver_cpus: Annotated[
        float, typer.Option(min=0, help="Reserve CPUs for the driver; it may then leave the head.")
    ] = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Run it again although it has succeeded.")
    ] = False,
) -> None:
    """Run a sweep as a job of a Ray cluster; submitted twice, it runs once."""
    from pipeline.commands.submission.client import Jobs
    from pipeline.commands.submission.submit import Submission, prepare_out, read_requirements
    from pipeline.commands.submission.submit import submit as send
    from pipeline.studies.training.automatic import stand_in

    standing, unsettled = stand_in(config, overrides or [])
    location = prepare_out(out, standing.name)
    options = Submission(
        package=not image_has_package,
        pip=() if pip is None else read_requirements(pip),
        shared_data=shared_data,
        environment=tuple(env or ()),
        driver_cpus=driver_cpus,
        again=again,
    )
    jobs = Jobs(address)
    sent = send(config, jobs, location, overrides or [], options)
    if sent.started:
        print(f"{sent.job} submitted; results go to {location}")
        if unsettled:
            print("no beta is given: the job chooses encoder, loss, beta and width first")
    elif sent.status == "SUCCEEDED":
        print(f"{sent.job} has finished already; results are in {location} (--again runs it anew)")
    else:
        print(f"{sent.job} runs already ({sent.status}); not submitted again")
    if not wait:
        if sent.status != "SUCCEEDED":
            print(f"watch it: qnn jobs logs {sent.job} --follow --address {jobs.address}")
        return
    _follow(jobs, sent.job)


def doctor(
    address: Annotated[
        str | None,
        typer.Option(
            help="A cluster: HOST:PORT, or its dashboard's http://….",
            envvar="RAY_API_SERVER_ADDRESS",
            show_default=False,
        ),
    ] = None,
    out: Annotated[str, typer.Option(help="Where results will go: a folder or URI.")] = "out",
) -> None:
    """Check versions, Ray, MLflow, storage, clock and disk; exit 1 where something fails."""
    from pipeline.commands.doctor import examine

    failed = False
    for check in examine(address, out):
        print(check.line, flush=True)
        failed = failed or check.level == "fail"
    sys.exit(1 if failed else 0)


@jobs_app.command(name="list")
def list_jobs(
    address: Address,
    everything: Annotated[
        bool, typer.Option("--all", help="Jobs that are no sweeps as well.")
    ] = False,
) -> None:
    """One line a job: id, status, start, duration, output."""
    from pipeline.commands.submission.client import Jobs, describe
    from pipeline.commands.submission.submit import MARK

    found = [job for job in Jobs(address).list() if everything or MARK in (job.metadata or {})]
    for job in found:
        print(describe(job))
    if not found:
        print("no jobs")


@jobs_app.command()
def logs(
    job: JobId,
    address: Address,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends; exit with its code.")
    ] = False,
) -> None:
    """What a job has printed."""
    from pipeline.commands.submission.client import Jobs

    jobs = Jobs(address)
    if follow:
        jobs.info(job)
        _follow(jobs, job)
    else:
        _show(jobs.logs(job))


@jobs_app.command()
def status(job: JobId, address: Address) -> None:
    """A job's status and what it is; the exit code is 0 whatever the status."""
    from pipeline.commands.submission.client import Jobs, describe, exit_code
    from pipeline.commands.submission.submit import MARK

    info = Jobs(address).info(job)
    print(describe(info))
    for name, value in sorted((info.metadata or {}).items()):
        print(f"  {'version' if name == MARK else name:<14}{value}")
    print(f"  {'command':<14}{info.entrypoint}")
    if info.end_time:
        print(f"  {'exit code':<14}{exit_code(info)}")
    if info.message:
        print(f"  {'message':<14}{' '.join(info.message.split())}")


@jobs_app.command()
def stop(job: JobId, address: Address) -> None:
    """End a job in an orderly way; submitting the sweep again goes on from there."""
    from pipeline.commands.submission.client import RUNNING, Jobs, describe

    jobs = Jobs(address)
    before = jobs.info(job)
    if before.status not in RUNNING:
        print(f"was over already: {describe(before)}")
        return
    jobs.stop(job)
    after = jobs.wait(job, 60.0)
    print(describe(after))
    sys.exit(1 if after.status in RUNNING else 0)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _follow(jobs: Jobs, job: str, show: Callable[[str], Any] = _show) -> None:
    from pipeline.commands.submission.client import describe, exit_code

    try:
        info = jobs.follow(job, show)
    except KeyboardInterrupt:
        print(f"\n{job} goes on; `qnn jobs stop {job}` ends it", file=sys.stderr)
        sys.exit(INTERRUPTED)
    print(describe(info))
    sys.exit(exit_code(info))
