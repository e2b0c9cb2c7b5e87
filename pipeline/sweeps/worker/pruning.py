"""The cells of a path that need no SDP: a learned bound proves the networks at hand good enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.results.record import Axes
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.gaps import relative_gap
from qnn.training.problems.problem import Problem

if TYPE_CHECKING:
    from qnn.certificates.record import Certificate
    from qnn.training.relaxation.learned import Bounds


class Pruning:
    """The bounds of a path, and the last network of each of its trials.

    A cell is hopeless where every trial's last network, at the cell's own β, is within ``gap`` of
    the cell's proven bound: whatever is solved there cannot save more than that.
    """

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self._networks: dict[tuple[str, int | None, int | None], QuantizedNetwork] = {}
        self._bounds: Bounds | None = None

    def keep(self, trial: Axes, network: QuantizedNetwork) -> None:
        """The network of a trial, wherever on the path it was found."""
        self._networks[_place(trial)] = network

    def network(self, trial: Axes) -> QuantizedNetwork:
        """The last one of the trial at this rounding, width and seed."""
        return self._networks[_place(trial)]

    def certificate(
        self, problem: Problem, betas: Sequence[float], trials: Sequence[Axes]
    ) -> Certificate | None:
        """The proof that the cell is hopeless; None where it has to be solved.

        ``problem`` at the cell's β, ``betas`` of the whole path; the map is learned on them first.
        """
        if any(_place(trial) not in self._networks for trial in trials):
            return None
        if self._bounds is None:
            from qnn.training.relaxation.learned import learn

            self._bounds = learn([problem], [betas])(problem, betas)
        cell = list(betas).index(problem.beta)
        worst = max(problem.objective(self.network(trial)) for trial in trials)
        if not relative_gap(worst, float(self._bounds.lower_bounds[cell])) <= self.gap:
            return None
        return self._bounds.certificate(cell)


def _place(trial: Axes) -> tuple[str, int | None, int | None]:
    return trial.rounding, trial.width, trial.seed
