"""What a worker does: one β path of one shard, from the relaxations to the results file.

`run_path` is plain Python and knows no Ray. What it writes depends, timings aside, on nothing but
the path's description and the data: each trial has its own random stream, seeded by its id.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from threadpoolctl import ThreadpoolController

from pipeline.datasets.shards import ShardData, Split, shard_data
from pipeline.datasets.sources import Table
from pipeline.logs.log_lines import log_json_to, wants_json
from pipeline.logs.messages import one_line
from pipeline.plans.units import JoinSpec, PathSpec, Unit
from pipeline.results.folder import CERTIFICATES, RunFolder, StoreError, data_file
from pipeline.results.ledger import write_results
from pipeline.results.matrices import data_table
from pipeline.sweeps.events import BetaJoined, Event, PathDone, PathLost, ProblemDone
from pipeline.sweeps.worker.arms import arm_rows, run_arm
from pipeline.sweeps.worker.join import run_join
from pipeline.sweeps.worker.rows import failure, keep_network, planned, trial_columns, trial_rng
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.losses import get_loss
from qnn.networks.activations import Polynomial
from qnn.numerics.archive import pack_arrays
from qnn.training.certification import raise_bound
from qnn.training.problems.problem import Problem
from qnn.training.problems.vector import VectorProblem
from qnn.training.relaxation import Relaxation, solve
from qnn.training.rounding import round_relaxation
from qnn.training.rounding.candidate import Incumbent

if TYPE_CHECKING:
    # The compiler, which it imports, takes a second: only exact proofs need it.
    from qnn.training.pricing.enumeration import Scanner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What all paths of a sweep share; a worker rebuilds a shard's matrices from it.

    `token` is the content of the sweep's lock: a worker that does not find it in `folder` looks at
    another machine's disk, or belongs to a driver whose folder was taken over.
    """

    table: Table
    split: Split
    layout: FeatureLayout
    folder: str
    token: str

    def data(self, spec: Unit) -> ShardData:
        """Return the shard of a path, as the solver sees it; with all outputs for a join."""
        data = shard_data(self.table, self.layout, self.split.shard(spec.shard), self.split)
        if isinstance(spec, PathSpec) and spec.outputs > 1:
            return data.output(spec.output)
        return data


def run_path(
    spec: PathSpec, data: ShardData, folder: RunFolder, scanner: Scanner | None = None
) -> Iterator[ProblemDone]:
    """Solve a path from its largest β to its smallest, round each, write everything.

    Yields after each β. Certificates and networks are written as they come, the results file last:
    it alone makes the path count as done. A failing relaxation makes failed rows of all its
    trials, a failing rounding only of its own; the path goes on. Raises `StoreError` where the
    folder cannot be written: such a path is not done. scanner : who scans the sign vectors of exact
    proofs, None for threads.
    """
    # Looked up for each path (2 ms): libraries loaded since the last one count too.
    threads = ThreadpoolController()
    with threads.limit(limits=1):
        # The outputs of a shard share its file, and each writes the same.
        folder.write_table(data_file(spec.dataset, spec.shard), data_table(data.X, data.targets))
    path = _Path(spec, data, folder, scanner)
    for beta in spec.betas:
        # The limit is set for each β anew: between them the caller's own settings hold.
        with threads.limit(limits=1):
            done = path.solve(beta)
        yield done
    write_results(folder, spec.id, path.rows)


class _Path:
    """The state of one path: the relaxation to start the next from, and the rows so far."""

    def __init__(
        self, spec: PathSpec, data: ShardData, folder: RunFolder, scanner: Scanner | None
    ) -> None:
        self.spec, self.data, self.folder, self.scanner = spec, data, folder, scanner
        self.rows: list[dict[str, Any]] = []
        self.problem: Problem | None = None
        self.previous: Relaxation | None = None
        self.beta_max = 0.0

    def solve(self, written: float) -> ProblemDone:
        """One β, given as it is written in the spec."""
        start = time.perf_counter()
        base = self._base_row(written)
        try:
            relaxation = self._relax(written, base, start)
            wide = self._certify(relaxation, written, base)
        except StoreError:
            raise
        except Exception as error:
            log.exception("path %s: the relaxation at beta %s failed", self.spec.id, written)
            base.setdefault("relaxation_seconds", time.perf_counter() - start)
            rows = [{**base, **trial, **failure(error)} for trial in self._trials(written)]
            rows += [{**row, **failure(error)} for row in arm_rows(self.spec, written, base)]
        else:
            self.previous = relaxation
            rows = [self._trial(relaxation, wide, base, trial) for trial in self._trials(written)]
            rows += [
                run_arm(row, rows, self.spec, relaxation.problem, self.data, self.folder)
                for row in arm_rows(self.spec, written, base)
            ]
        self.rows.extend(rows)
        return _summary(self.spec, base, rows, self.previous, time.perf_counter() - start)

    def _base_row(self, written: float) -> dict[str, Any]:
        return {
            **planned(self.spec, written),
            "n": self.data.X.shape[0],
            "d": self.data.X.shape[1],
            "preprocessing_bytes": self.data.preprocessing.size_in_bytes,
        }

    def _trials(self, written: float) -> Iterator[dict[str, Any]]:
        for trial in self.spec.own_trials(written):
            yield trial_columns(self.spec, trial)

    def _relax(self, written: float, base: dict[str, Any], start: float) -> Relaxation:
        spec = self.spec
        if self.problem is None:
            self.problem, self.beta_max = self._problem()
        beta_max = self.beta_max
        base["beta_max"] = beta_max
        beta, base["beta_fraction"] = _both_betas(written, spec.beta_kind, beta_max)
        base["beta"] = beta
        relaxation = solve(
            self.problem.with_beta(beta),
            tol=spec.tol,
            solver=spec.solver,
            time_limit=spec.time_limit,
            warm_start=self.previous,
        )
        base["relaxation_seconds"] = time.perf_counter() - start
        base["solver"] = relaxation.solver
        base["relaxation_value"] = relaxation.upper_bound
        return relaxation

    def _problem(self) -> tuple[Problem, float]:
        """The path's problem, and the β from which on all outputs of the shard are zero.

        Fractions are of that, so that all outputs have one β. Each path computes it anew: paths
        wait for no other.
        """
        spec, data = self.spec, self.data
        loss = get_loss(spec.loss, spec.loss_parameter)
        activation = "bilinear" if spec.polynomial is None else Polynomial(*spec.polynomial)
        if data.Y is None:
            problem = Problem(data.X, data.y, 1.0, loss, activation, spec.alphabet)
            return problem, problem.beta_max
        outputs = VectorProblem(data.X, data.Y, 1.0, loss, activation, spec.alphabet)
        return outputs.outputs[spec.output], outputs.beta_max

    def _certify(
        self, relaxation: Relaxation, written: float, base: dict[str, Any]
    ) -> Incumbent | None:
        """Write the certificate of the level wanted; the best network of any width, if known."""
        spec, start = self.spec, time.perf_counter()
        certificate, wide = relaxation.certificate, None
        problem_id = spec.problem_id(written)
        if spec.certify != "relaxation":
            limit = spec.certify_time_limit
            deadline = None if limit is None else time.monotonic() + limit
            raised = raise_bound(
                relaxation,
                spec.certify,
                trial_rng(problem_id),
                deadline,
                scanner=self.scanner,
            )
            certificate, wide = raised.certificate, raised.incumbent
            base["bounds"] = [
                {"seconds": p.seconds, "lower": p.lower_bound, "upper": p.upper_bound}
                for p in raised.history
            ]
            base["certify_seconds"] = time.perf_counter() - start
        base["proof"] = certificate.kind
        base["lower_bound"] = certificate.lower_bound
        base["certificate"] = f"{CERTIFICATES}/{problem_id}.npz"
        place = data_file(spec.dataset, spec.shard)
        certificate = replace(certificate, data=place, output=spec.output)
        self.folder.write(base["certificate"], pack_arrays(certificate.arrays()))
        return wide

    def _trial(
        self,
        relaxation: Relaxation,
        wide: Incumbent | None,
        base: dict[str, Any],
        trial: dict[str, Any],
    ) -> dict[str, Any]:
        start = time.perf_counter()
        row = {**base, **trial}
        try:
            rng = trial_rng(trial["trial"])
            network = round_relaxation(
                relaxation,
                trial["width"],
                rng,
                trial["rounding"],
                wide,
                self.spec.second_layer_bits,
            )
            row["rounding_seconds"] = time.perf_counter() - start
            keep_network(row, network, relaxation.problem, self.data, self.folder)
        except StoreError:
            raise
        except Exception as error:
            log.exception(
                "trial %s failed",
                trial["trial"],
                extra={"trial": trial["trial"], "path": self.spec.id},
            )
            row = {**base, **trial, **failure(error)}
        row["seconds"] = time.perf_counter() - start
        return row


def _both_betas(written: float, kind: str, beta_max: float) -> tuple[float, float | None]:
    """Return β and the fraction of β_max that it is (None where β_max is 0)."""
    if kind == "values":
        return written, written / beta_max if beta_max > 0 else None
    if beta_max <= 0:
        raise InputError(
            "beta_max is 0 on this shard (all targets are 0), so fractions of it mean nothing; "
            "give beta.values"
        )
    return written * beta_max, written


def _summary(
    spec: PathSpec,
    base: dict[str, Any],
    rows: list[dict[str, Any]],
    relaxation: Relaxation | None,
    seconds: float,
) -> ProblemDone:
    ours = [row for row in rows if row["rounding"] in spec.roundings]
    gaps = [row["gap"] for row in ours if row["status"] == "ok"]
    errors = [row["error"] for row in rows if row["status"] != "ok"]
    solved = "lower_bound" in base
    return ProblemDone(
        path=spec.id,
        shard=spec.shard,
        beta=base["beta"],
        beta_fraction=base["beta_fraction"],
        trials=len(rows),
        failed=len(errors),
        best_gap=min(gaps, default=None) if spec.outputs == 1 else None,
        lower_bound=base.get("lower_bound"),
        relaxation_gap=relaxation.gap if relaxation is not None and solved else None,
        solver=base["solver"],
        relaxation_seconds=base["relaxation_seconds"],
        seconds=seconds,
        error=errors[0] if errors else None,
    )


def run_batch(specs: Iterable[Unit], work: Work, scanner: Scanner | None = None) -> Iterator[Event]:
    """Run paths or joins one after the other; one that cannot be finished is lost, no other is.

    scanner : as `run_path` takes it.
    """
    if wants_json() and not logging.getLogger("pipeline").handlers:
        log_json_to(sys.stderr)
    folder = RunFolder.open(work.folder)
    check_folder(folder, work.token)
    for spec in specs:
        trials = failed = 0
        try:
            for done in _run(spec, work.data(spec), folder, scanner):
                trials, failed = trials + done.trials, failed + done.failed
                yield done
        except Exception as error:
            log.exception("path %s is lost", spec.id, extra={"path": spec.id})
            yield PathLost(spec.id, one_line(error), isinstance(error, StoreError))
        else:
            yield PathDone(spec.id, trials, failed)


def _run(
    spec: Unit, data: ShardData, folder: RunFolder, scanner: Scanner | None
) -> Iterator[ProblemDone] | Iterator[BetaJoined]:
    if isinstance(spec, JoinSpec):
        return run_join(spec, data, folder)
    return run_path(spec, data, folder, scanner)


def check_folder(folder: RunFolder, token: str) -> None:
    """Raise `InputError` unless this process sees the driver's folder, held by this sweep."""
    from pipeline.results.lock import LOCK_FILE

    try:
        content = folder.read(LOCK_FILE)
    except FileNotFoundError:
        content = b""
    if token.encode() not in content:
        raise InputError(
            f"{folder.label}: this worker does not see the driver's folder (or another sweep "
            "took it over); workers on several machines need --out on a shared file system or "
            "object store"
        )
