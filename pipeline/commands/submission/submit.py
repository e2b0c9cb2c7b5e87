"""`qnn submit`: a sweep as a Ray job, once, however often it is submitted.

The job's id follows from the resolved config, the data and the output location. A job that runs or
has succeeded under it is therefore found again; one that failed or was stopped is followed by a new
attempt, numbered, which goes on with what the output folder holds.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.commands.submission.client import RUNNING, SUCCEEDED, Jobs
from pipeline.commands.submission.shipping import (
    CONFIG_NAME,
    DISTRIBUTION,
    LocalData,
    find_local_data,
    stage,
)
from pipeline.configuration.paths import URI_VARIABLE, refuse_half_uri
from pipeline.configuration.reading import SweepConfig
from pipeline.logs.redact import HIDDEN, is_secret_name, redact
from pipeline.studies.training.automatic import (
    Keys,
    checkable,
    refuse_lists,
    stand_in,
    text_without,
)
from qnn.errors import InputError

ID_DIGITS = 12
# Metadata by which `qnn jobs list` tells our jobs from others.
MARK = "qnn"
# Settings of the submitter that a job needs too; their values are no secrets.
PASSED_ON = ("MLFLOW_TRACKING_URI", "QNN_LOG")
# On SIGTERM the driver closes its run in MLflow before it ends; Ray alone would wait 3 s.
STOP_SECONDS = "30"


@dataclass(frozen=True)
class Submission:
    """How a sweep is sent.

    `package`: ship qnn and pipeline. `pip`: requirements that Ray installs for the job.
    `shared_data`: the data lie under the same path on all nodes. `environment`: names of variables
    to pass on. `driver_cpus`: reserve CPUs for the driver, which then may run on any node. `again`:
    a new attempt even after success.
    """

    package: bool = True
    pip: tuple[str, ...] = ()
    shared_data: bool = False
    environment: tuple[str, ...] = ()
    driver_cpus: float = 0.0
    again: bool = False


@dataclass(frozen=True)
class Submitted:
    """A job's id, its status as found, and whether it was this call that started it."""

    job: str
    status: str
    started: bool


def prepare_out(out: str | None, name: str) -> str:
    """Return the output location as it must be for a cluster. Raises `InputError`."""
    base = os.environ.get("QNN_OUT")
    if out is None and base:
        out = f"{base.rstrip('/')}/{name}"
    if out is None:
        raise InputError(
            "--out: give a folder that all nodes of the cluster share (a path on NFS, s3://…), "
            "or set QNN_OUT to the folder above it"
        )
    if "://" not in out and not out.startswith("/"):
        raise InputError(f"--out {out}: on a cluster it must be absolute, or a URI (s3://…)")
    if HIDDEN in redact(out):
        raise InputError(
            f"--out {redact(out)}: holds credentials, and a job's command is shown to everybody "
            "who sees the cluster; give them to the nodes (AWS_ACCESS_KEY_ID, …) instead"
        )
    return out


def submission_id(
    config: SweepConfig, out: str, data: LocalData | None, unsettled: Keys = ()
) -> str:
    """Return the id that follows from what the sweep is and where it goes.

    `unsettled`: keys that the job itself is to choose.
    """
    described = json.loads(json.dumps(config.model_dump(mode="json")))
    if data is not None:
        described["data"]["source"] = [data.path.name, data.digest]
    if unsettled:
        described["chosen"] = [".".join(key) for key in unsettled]
    text = json.dumps([described, out.rstrip("/")], sort_keys=True, separators=(",", ":"))
    # It stands in addresses and in names of files; the digest tells names apart.
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", config.name)
    return f"qnn-{name}-{hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]}"


def latest_attempt(jobs: Sequence[Any], base: str) -> tuple[int, Any]:
    """Return the number and details of the newest job with this id; (0, None) without one."""
    numbered = [
        (int(match[1] or 1), job)
        for job in jobs
        if (match := re.fullmatch(re.escape(base) + r"(?:\.(\d+))?", job.submission_id))
    ]
    return max(numbered, key=lambda pair: pair[0], default=(0, None))


def submit(
    path: Path, jobs: Jobs, out: str, overrides: Sequence[str], options: Submission
) -> Submitted:
    """Submit a sweep unless it runs or is done already.

    What the config leaves out, where it has no β, is chosen by the job before it computes.

    Raises `InputError`: the config or local data are faulty, or the cluster refuses the job.
    """
    config, unsettled = stand_in(path, overrides)
    refuse_lists(config, unsettled, path.name)
    _refuse_half_uris(config)
    data = find_local_data(config)
    trials = _check(checkable(config, unsettled)) if data is not None else None
    trials = None if unsettled else trials
    base = submission_id(config, out, data, unsettled)
    number, found = latest_attempt(jobs.list(), base)
    if found is not None and (
        found.status in RUNNING or (found.status == SUCCEEDED and not options.again)
    ):
        return Submitted(found.submission_id, _text(found.status), False)
    job = base if number == 0 else f"{base}.{number + 1}"
    with tempfile.TemporaryDirectory(prefix="qnn-submit-") as staging:
        sent = None if options.shared_data else data
        stage(Path(staging), config, sent, options.package, unsettled)
        environment: dict[str, Any] = {
            "working_dir": staging,
            "env_vars": _variables(options.environment),
        }
        if options.pip:
            environment["pip"] = list(options.pip)
        try:
            jobs.submit(
                entrypoint=entrypoint(out, options.package),
                submission_id=job,
                runtime_env=environment,
                metadata=_metadata(config, out, trials, unsettled),
                entrypoint_num_cpus=options.driver_cpus or None,
            )
        except InputError as error:
            # Another process submitted the same between our look and our call.
            if "already exists" not in str(error):
                raise
            return Submitted(job, _text(jobs.info(job).status), False)
    return Submitted(job, "PENDING", True)


def _refuse_half_uris(config: SweepConfig) -> None:
    """What would be a folder of the node that the job runs on, or nothing at all."""
    refuse_half_uri(config.data.source, "data.source")
    key = "tracking.uri" if config.tracking.uri else URI_VARIABLE
    given = config.tracking.uri or os.environ.get(URI_VARIABLE)
    if not given:
        return
    refuse_half_uri(given, key)
    if not ("://" in given or given.startswith(("databricks", "/"))):
        raise InputError(f"{key}: {given} is no URI (http://…, sqlite:///…) and no absolute path")


def entrypoint(out: str, package: bool) -> str:
    """Return the shell command that the job runs."""
    command = ["python", "-m", "pipeline"] if package else ["qnn"]
    return shlex.join([*command, "sweep", CONFIG_NAME, "--address", "auto", "--out", out])


def read_requirements(file: Path) -> tuple[str, ...]:
    """Return the lines of a requirements file that name packages. Raises `InputError`."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise InputError(f"--pip {file}: cannot be read: {reason}") from None
    found = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not found:
        raise InputError(f"--pip {file}: names no packages")
    return found


def _text(status: Any) -> str:
    return str(getattr(status, "value", status))


def _check(config: SweepConfig) -> int:
    """Plan the sweep here, so that data that do not fit are refused before anything is sent."""
    from pipeline.datasets.shards import make_layout, make_split
    from pipeline.datasets.sources import load_table
    from pipeline.plans.plan import make_plan

    table = load_table(config)
    split = make_split(table, config)
    return make_plan(config, table, split, make_layout(table, config, split)).trials


def _variables(names: Sequence[str]) -> dict[str, str]:
    """The environment of the job. Ray shows it, so that secrets are refused."""
    variables = {"PYTHONUNBUFFERED": "1", "RAY_JOB_STOP_WAIT_TIME_S": STOP_SECONDS}
    for name in names:
        if name not in os.environ:
            raise InputError(f"--env {name}: is not set here")
    for name in (*PASSED_ON, *names):
        value = os.environ.get(name)
        if value is None:
            continue
        if is_secret_name(name) or HIDDEN in redact(value):
            raise InputError(
                f"{name}: holds a secret, and a job's environment is kept by Ray where others can "
                "read it; give it to the nodes instead"
            )
        variables[name] = value
    return variables


def _metadata(config: SweepConfig, out: str, trials: int | None, unsettled: Keys) -> dict[str, str]:
    digest = hashlib.sha256(text_without(config, unsettled).encode()).hexdigest()
    shown = {
        MARK: version(DISTRIBUTION),
        "sweep": config.name,
        "config_sha256": digest,
        "out": out,
        "user": _user(),
    }
    return shown if trials is None else {**shown, "trials": str(trials)}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
