"""What a worker does for a path: one β path of one shard, from the relaxations to the results file.

`run_path` is plain Python and knows no Ray. What it writes depends, timings aside, on nothing but
the path's description and the data: each trial has its own random stream, seeded by its id.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from threadpoolctl import ThreadpoolController

from pipeline.configuration.beta import Beta
from pipeline.datasets.shards import ShardData
from pipeline.plans.units import PathSpec
from pipeline.results.folder import CERTIFICATES, RunFolder, StoreError, data_file
from pipeline.results.ledger import write_results
from pipeline.results.matrices import data_table
from pipeline.results.record import LEARNED, Axes, BoundPoint, Bounds, Cost, NetworkRow
from pipeline.sweeps.worker.arms import arm_row, run_arm
from pipeline.sweeps.worker.pruning import Pruning
from pipeline.sweeps.worker.rows import failure, keep_network, row_of, trial_rng
from pipeline.sweeps.worker.standing import standing_certificate
from pipeline.sweeps.worker.steps import ProblemDone
from qnn.features.class_weights import row_weights
from qnn.numerics.archive import pack_arrays
from qnn.training.certification import raise_bound
from qnn.training.problems.problem import Problem
from qnn.training.problems.vector import VectorProblem
from qnn.training.relaxation import Relaxation, solve
from qnn.training.relaxation.solver import Progress
from qnn.training.rounding import round_relaxation
from qnn.training.rounding.candidate import Incumbent

if TYPE_CHECKING:
    # The compiler, which it imports, takes a second: only exact proofs need it.
    from qnn.certificates.record import Certificate
    from qnn.networks.quantized import QuantizedNetwork
    from qnn.training.pricing.enumeration import Scanner

log = logging.getLogger(__name__)


def run_path(
    spec: PathSpec,
    data: ShardData,
    folder: RunFolder,
    scanner: Scanner | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[ProblemDone]:
    """Solve a path from its largest β to its smallest, round each, write everything.

    Yields after each β. Certificates and networks are written as they come, the results file last:
    it alone makes the path count as done. A failing relaxation makes failed rows of all its
    trials, a failing rounding only of its own; the path goes on. Raises `StoreError` where the
    folder cannot be written: such a path is not done. scanner : who scans the sign vectors of exact
    proofs, None for threads. say : shown the bounds as they close in.
    """
    # Looked up for each path (2 ms): libraries loaded since the last one count too.
    threads = ThreadpoolController()
    with threads.limit(limits=1):
        # The outputs of a shard share its file, and each writes the same.
        folder.write_table(data_file(spec.dataset, spec.shard), data_table(*data.matrices))
    path = _Path(spec, data, folder, scanner, say)
    for beta in spec.betas:
        # The limit is set for each β anew: between them the caller's own settings hold.
        with threads.limit(limits=1):
            done = path.solve(beta)
        yield done
    write_results(folder, spec.id, path.rows)


class _Path:
    """The state of one path: the relaxation to start the next from, and the rows so far.

    `row` is what is known of all rows of the β at hand, also where a later step fails.
    """

    def __init__(
        self,
        spec: PathSpec,
        data: ShardData,
        folder: RunFolder,
        scanner: Scanner | None,
        say: Callable[[str], None] | None,
    ) -> None:
        self.spec, self.data, self.folder = spec, data, folder
        self.scanner, self.say = scanner, say
        self.rows: list[NetworkRow] = []
        self.problem: Problem | None = None
        self.previous: Relaxation | None = None
        self.beta_max = 0.0
        self.pruning = None if spec.pruned_to is None else Pruning(spec.pruned_to)
        self.row = self._row_at(spec.betas[0])

    def solve(self, beta: Beta) -> ProblemDone:
        """One β of the spec."""
        start = time.perf_counter()
        self.row = self._row_at(beta)
        relaxation, wide = None, None
        try:
            problem = self._problem_at(beta)
            if not self._hopeless(problem, beta, start):
                relaxation = self._relax(problem, start)
                wide = self._certify(relaxation, beta)
        except StoreError:
            raise
        except Exception as error:
            log.exception("path %s: the relaxation at beta %s failed", self.spec.id, beta.written)
            if self.row.cost.relaxation_seconds is None:
                self._note(cost=Cost(relaxation_seconds=time.perf_counter() - start))
            rows = [*self._own_rows(), *self._arm_rows()]
            rows = [replace(row, fit=failure(error)) for row in rows]
        else:
            self.previous = relaxation or self.previous
            rows = [self._trial(problem, relaxation, wide, row) for row in self._own_rows()]
            rows += [
                run_arm(row, rows, self.spec, problem, self.data, self.folder)
                for row in self._arm_rows()
            ]
        self.rows.extend(rows)
        return self._told(rows, time.perf_counter() - start)

    def _note(self, **parts: Any) -> None:
        """Parts of the row that are known now."""
        self.row = replace(self.row, **parts)

    def _row_at(self, beta: Beta) -> NetworkRow:
        row = row_of(self.spec, self.spec.axes(beta))
        n, d = self.data.X.shape
        size = self.data.preprocessing.size_in_bytes
        return replace(row, identity=replace(row.identity, n=n, d=d, preprocessing_bytes=size))

    def _own_rows(self) -> list[NetworkRow]:
        return [self._row_of(trial) for trial in self.spec.own_trials(self.row.axes)]

    def _arm_rows(self) -> list[NetworkRow]:
        return [arm_row(self._row_of(trial)) for trial in self.spec.arm_trials(self.row.axes)]

    def _row_of(self, trial: Axes) -> NetworkRow:
        identity = replace(self.row.identity, trial=self.spec.trial_id(trial))
        return replace(self.row, identity=identity, axes=trial)

    def _problem_at(self, beta: Beta) -> Problem:
        if self.problem is None:
            self.problem, self.beta_max = self._problem()
        self._note(axes=replace(self.row.axes, beta_max=self.beta_max))
        self._note(axes=self.spec.axes(beta.resolve(self.beta_max)))
        return self.problem.with_beta(self._value_of(beta))

    def _value_of(self, beta: Beta) -> float:
        value = beta.resolve(self.beta_max).value
        assert value is not None, "beta_max is known"
        return value

    def _hopeless(self, problem: Problem, beta: Beta, start: float) -> bool:
        """Whether a learned bound says that no SDP is needed here; its certificate is written."""
        if self.pruning is None:
            return False
        betas = list(map(self._value_of, self.spec.betas))
        trials = self.spec.own_trials(self.row.axes)
        certificate = self.pruning.certificate(problem, betas, list(trials))
        if certificate is None:
            return False
        self._note(
            axes=replace(self.row.axes, solver=LEARNED),
            cost=Cost(relaxation_seconds=time.perf_counter() - start),
        )
        self._write(certificate, problem, beta, None)
        return True

    def _relax(self, problem: Problem, start: float) -> Relaxation:
        spec = self.spec
        relaxation = solve(
            problem,
            tol=spec.tol,
            solver=spec.solver,
            time_limit=spec.time_limit,
            warm_start=self.previous,
        )
        self._note(
            axes=replace(self.row.axes, solver=relaxation.solver),
            bounds=Bounds(relaxation_value=relaxation.upper_bound),
            cost=Cost(relaxation_seconds=time.perf_counter() - start),
        )
        return relaxation

    def _problem(self) -> tuple[Problem, float]:
        """The path's problem, and the β from which on all outputs of the shard are zero.

        Fractions are of that, so that all outputs have one β. Each path computes it anew: paths
        wait for no other.
        """
        spec, data = self.spec, self.data
        kind = spec.kind
        loss = kind.get_loss().weighted(row_weights(spec.class_weight, data.matrices[1]))
        activation = kind.get_activation()
        if data.whole is None:
            problem = Problem(data.X, data.y, 1.0, loss, activation, kind.alphabet)
            return problem, problem.beta_max
        outputs = VectorProblem(*data.matrices, 1.0, loss, activation, kind.alphabet)
        return outputs.outputs[spec.output], outputs.beta_max

    def _certify(self, relaxation: Relaxation, beta: Beta) -> Incumbent | None:
        """Write the certificate of the level wanted; the best network of any width, if known."""
        spec, start = self.spec, time.perf_counter()
        certificate, wide, history = relaxation.certificate, None, None
        if spec.certify != "relaxation":
            limit = spec.certify_limit
            deadline = None if limit is None else time.monotonic() + limit
            rng = trial_rng(spec.problem_id(beta))
            raised = raise_bound(
                relaxation, spec.certify, rng, deadline, self._closing_in, self.scanner
            )
            certificate, wide = raised.certificate, raised.incumbent
            history = tuple(
                BoundPoint(point.seconds, point.lower_bound, point.upper_bound)
                for point in raised.history
            )
            self._note(cost=replace(self.row.cost, certify_seconds=time.perf_counter() - start))
        self._write(certificate, relaxation.problem, beta, history)
        return wide

    def _closing_in(self, progress: Progress) -> None:
        if self.say is not None:
            bounds = f"bound {progress.lower_bound:.6g} of {progress.upper_bound:.6g}"
            where = f"{self.spec.shard}, β {self.row.axes.beta or 0.0:.4g}"
            seconds = f"after {progress.seconds:.0f} s"
            self.say(f"{where}: {bounds}, gap {100 * progress.gap:.3g} % {seconds}")

    def _write(
        self,
        certificate: Certificate,
        problem: Problem,
        beta: Beta,
        history: tuple[BoundPoint, ...] | None,
    ) -> None:
        spec = self.spec
        file = f"{CERTIFICATES}/{spec.problem_id(beta)}.npz"
        place = data_file(spec.dataset, spec.shard)
        certificate = certificate.stating(data=place, output=spec.output)
        standing = standing_certificate(self.folder, file, certificate, problem)
        if standing is not None:
            # Rows of an earlier plan speak of it; how ours closed in is not how it did.
            certificate, history = standing, None
        else:
            self.folder.write(file, pack_arrays(certificate.arrays()))
        proven = replace(
            self.row.bounds,
            certificate=file,
            lower_bound=certificate.lower_bound,
            proof=certificate.kind,
            bounds=history,
        )
        self._note(bounds=proven)

    def _trial(
        self,
        problem: Problem,
        relaxation: Relaxation | None,
        wide: Incumbent | None,
        row: NetworkRow,
    ) -> NetworkRow:
        start = time.perf_counter()
        trial = row.identity.trial
        try:
            network = self._network(relaxation, wide, row)
            seconds = time.perf_counter() - start
            row = keep_network(row, network, problem, self.data, self.folder)
            cost = replace(row.cost, rounding_seconds=seconds, seconds=time.perf_counter() - start)
            return replace(row, cost=cost)
        except StoreError:
            raise
        except Exception as error:
            log.exception("trial %s failed", trial, extra={"trial": trial, "path": self.spec.id})
            row = replace(row, fit=failure(error))
        return row.with_seconds(time.perf_counter() - start)

    def _network(
        self, relaxation: Relaxation | None, wide: Incumbent | None, row: NetworkRow
    ) -> QuantizedNetwork:
        """A network rounded from the relaxation; without one, the last of the trial."""
        if relaxation is None:
            assert self.pruning is not None, "each other cell is solved"
            return self.pruning.network(row.axes)
        axes, bits = row.axes, self.spec.second_layer_bits
        assert axes.width is not None, "our own networks have a width"
        rng = trial_rng(row.identity.trial)
        network = round_relaxation(relaxation, axes.width, rng, axes.rounding, wide, bits)
        if self.pruning is not None:
            self.pruning.keep(axes, network)
        return network

    def _told(self, rows: list[NetworkRow], seconds: float) -> ProblemDone:
        spec, known, relaxation = self.spec, self.row, self.previous
        ours = [row.fit for row in rows if row.axes.rounding in spec.roundings]
        gaps = [fit.gap for fit in ours if fit.ok and fit.gap is not None]
        errors = [row.fit.error for row in rows if not row.fit.ok]
        solved = known.bounds.relaxation_value is not None
        return ProblemDone(
            unit=spec.id,
            shard=spec.shard,
            trials=len(rows),
            failed=len(errors),
            best_gap=min(gaps, default=None) if spec.outputs == 1 else None,
            seconds=seconds,
            error=errors[0] if errors else None,
            beta=known.axes.beta,
            beta_fraction=known.axes.beta_fraction,
            lower_bound=known.bounds.lower_bound,
            relaxation_gap=relaxation.gap if relaxation is not None and solved else None,
            solver=known.axes.solver or spec.solver,
            relaxation_seconds=known.cost.relaxation_seconds or 0.0,
        )
