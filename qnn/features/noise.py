"""Training rows with noise: a network that has seen a sensor err is the more robust for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Noise:
    """Each row stands there once as it is and `copies` times with normal noise in its numbers.

    deviation : of the noise, in standard deviations of each column's known numbers. A column of
    text stays as it is, and so do a missing number and a flag (`is_flag`). One seed gives the same
    noise anywhere.
    """

    deviation: float
    copies: int
    seed: int = 0

    def noisy(self, columns: Columns, still: Collection[str] = ()) -> dict[str, np.ndarray]:
        """The columns (n,), each as one of n · (1 + copies) rows: first the rows as they are.

        Those of the names in `still` have no noise in the copies either. Raises InputError for
        numbers so large that their deviation, or one with noise, overflows.
        """
        rng = np.random.default_rng(self.seed)
        return {
            name: self.repeated(column) if name in still else self._extended(name, column, rng)
            for name, column in columns.items()
        }

    def repeated(self, target: np.ndarray) -> np.ndarray:
        """The targets (n,) or (n, C) of those rows."""
        return np.concatenate([target] * (1 + self.copies))

    def _extended(self, name: str, column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        every = self.repeated(column)
        known = column[~np.isnan(column)] if column.dtype.kind == "f" else column[:0]
        if len(known):
            with np.errstate(over="ignore", invalid="ignore"):
                size = self.deviation * float(np.std(known))
                every[len(column) :] += size * rng.normal(size=len(column) * self.copies)
            overflown = np.isfinite(every).sum() < len(known) * (1 + self.copies)
            if overflown and np.isfinite(known).all():
                raise InputError(
                    f"column '{name}' has numbers too large for noise (their squares overflow): "
                    "rescale them, or leave the noise out"
                )
        return every

    @property
    def describe(self) -> str:
        """In words, for a plan."""
        more = "once more" if self.copies == 1 else f"{self.copies} times more"
        return f"each row {more}, with noise of {self.deviation:g} deviations"


def is_flag(column: np.ndarray) -> bool:
    """Whether a column (n,) has no numbers but 0 and 1, as booleans are read: no sensor errs so."""
    if column.dtype.kind != "f":
        return False
    known = column[~np.isnan(column)]
    return bool(len(known) and np.isin(known, (0.0, 1.0)).all())
