"""The second layer on few bits: one common scalar, or a grid of K bits.

`α_j = s k_j` with one scalar s > 0 and integers k_j, and `min ℓ(s Hk, y) + λ s Σ|k_j|` over both.
For a given k the best s is a refit of a single column; for a given s one k_j at a time steps up or
down while that lowers the objective. Several scales are tried to start from. What is lost against
free α is measured against the same bound: the certificate covers every α.
"""

import numpy as np

from qnn.losses import Loss
from qnn.networks.second_layers import largest_step
from qnn.training.problems.problem import Problem
from qnn.training.rounding.refit.second_layer import refit

# Scales that are tried first, in units of the largest |α| over the largest step and of the mean.
SCALES = (1.0, 0.7, 0.5, 0.35, 0.25)
SWEEPS = 20


def on_grid(
    problem: Problem, W: np.ndarray, alpha: np.ndarray, second_layer: str | int, width: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Neurons and their α on the grid, as good as the search finds.

    W (parts, D, m) bits of the neurons and their free alpha (m,). With a common scalar a neuron may
    stand several times, up to `width` in all (None: four times as many as there are); a neuron
    whose step is 0 leaves. Returns W (parts, D, m') and alpha (m',).
    """
    if second_layer == "float" or not len(alpha):
        return W, alpha
    common = second_layer == "common"
    H = problem.atoms.features(W)
    total = (4 * len(alpha) if width is None else width) if common else None
    largest = total if total is not None else largest_step(second_layer)
    assert largest is not None
    search = _Search(problem.loss, H, problem.y, problem.budget, largest, total)
    steps, scale = search.best(alpha)
    if common:
        index = np.repeat(np.arange(len(steps)), np.abs(steps).astype(int))
        return W[:, :, index], scale * np.sign(steps[index])
    kept = np.flatnonzero(steps)
    return W[:, :, kept], scale * steps[kept]


class _Search:
    """Steps k within ±largest, Σ|k| at most total (None: any), and their scale."""

    def __init__(
        self,
        loss: Loss,
        H: np.ndarray,
        y: np.ndarray,
        penalty: float,
        largest: int,
        total: int | None,
    ) -> None:
        self.loss, self.H, self.y, self.penalty = loss, H, y, penalty
        self.largest, self.total = largest, total

    def best(self, alpha: np.ndarray) -> tuple[np.ndarray, float]:
        """The best of all starts; the zero network where none is better."""
        top, mean = float(np.abs(alpha).max()), float(np.abs(alpha).mean())
        units = [top / self.largest, mean] if self.total is None else [mean, top]
        found, least = (np.zeros(len(alpha)), 0.0), self._value(np.zeros(len(self.y)), 0.0)
        for scale in dict.fromkeys(factor * unit for unit in units for factor in SCALES):
            steps = np.clip(np.rint(alpha / scale), -self.largest, self.largest)
            steps = self._within_total(steps, alpha / scale)
            candidate, value = self._descend(steps)
            if value < least:
                found, least = candidate, value
        return found

    def _within_total(self, steps: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Steps that were rounded up most go down, until their sum is allowed."""
        steps = steps.copy()
        while self.total is not None and np.abs(steps).sum() > self.total:
            surplus = np.where(steps != 0.0, np.abs(steps) - np.abs(wanted), -np.inf)
            j = int(np.argmax(surplus))
            steps[j] -= np.sign(steps[j])
        return steps

    def _descend(self, steps: np.ndarray) -> tuple[tuple[np.ndarray, float], float]:
        scale, value = self._scale(steps)
        for _ in range(SWEEPS):
            before = value
            steps = self._sweep(steps, scale, value)
            scale, value = self._scale(steps)
            if value > before * (1.0 - 1e-9):
                break
        return (steps, scale), value

    def _scale(self, steps: np.ndarray) -> tuple[float, float]:
        """The best scale of these steps, not below 0, and the objective there."""
        column = (self.H @ steps)[:, None]
        layer = refit(self.loss, column, self.y, self.penalty * max(np.abs(steps).sum(), 1.0))
        scale = max(float(layer.alpha[0]), 0.0)
        return scale, self._value(scale * column[:, 0], scale * float(np.abs(steps).sum()))

    def _sweep(self, steps: np.ndarray, scale: float, value: float) -> np.ndarray:
        """One step of each neuron, up or down, where that lowers the objective."""
        steps, predictions = steps.copy(), scale * (self.H @ steps)
        size = float(np.abs(steps).sum())
        for j in range(len(steps)):
            for change in (1.0, -1.0):
                new = steps[j] + change
                larger = size + abs(new) - abs(steps[j])
                if abs(new) > self.largest or (self.total is not None and larger > self.total):
                    continue
                moved = predictions + scale * change * self.H[:, j]
                reached = self._value(moved, scale * larger)
                if reached < value:
                    steps[j], predictions, size, value = new, moved, larger, reached
                    break
        return steps

    def _value(self, predictions: np.ndarray, size: float) -> float:
        return self.loss.value(predictions, self.y) + self.penalty * size
