"""Training rows with noise: a network that has seen a sensor err is the more robust for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError

Columns = Mapping[str, np.ndarray]

# Deviations beyond which no draw is.
FARTHEST = 40.0


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

        Those of the names in `still` have no noise in the copies either. Raises InputError as
        `check`.
        """
        rng = np.random.default_rng(self.seed)
        return {
            name: self.repeated(column) if name in still else self._extended(name, column, rng)
            for name, column in columns.items()
        }

    def repeated(self, target: np.ndarray) -> np.ndarray:
        """The targets (n,) or (n, C) of those rows."""
        return np.concatenate([target] * (1 + self.copies))

    def check(self, columns: Columns, still: Collection[str] = ()) -> None:
        """Raise InputError where `noisy` would: for numbers whose deviation or noise overflows."""
        for name, column in columns.items():
            if name not in still:
                self._size(name, _known(column))

    def _extended(self, name: str, column: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        every, known = self.repeated(column), _known(column)
        if len(known):
            size = self._size(name, known)
            every[len(column) :] += size * rng.normal(size=len(column) * self.copies)
        return every

    def _size(self, name: str, known: np.ndarray) -> float:
        """The standard deviation of the noise of a column's known numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            size = self.deviation * float(np.std(known)) if len(known) else 0.0
            largest = float(np.abs(known).max(initial=0.0)) + FARTHEST * size
        if np.isfinite(known).all() and not np.isfinite(largest):
            raise InputError(
                f"column '{name}' has numbers too large for noise (their squares overflow): "
                "rescale them, or leave the column or the noise out"
            )
        return size

    @property
    def describe(self) -> str:
        """In words, for a plan."""
        more = "once more" if self.copies == 1 else f"{self.copies} times more"
        return f"each row {more}, with noise of {self.deviation:g} deviations"


def _known(column: np.ndarray) -> np.ndarray:
    """Its numbers, none where it is text."""
    return column[~np.isnan(column)] if column.dtype.kind == "f" else column[:0]


def is_flag(column: np.ndarray) -> bool:
    """Whether a column (n,) has no numbers but 0 and 1, as booleans are read: no sensor errs so."""
    if column.dtype.kind != "f":
        return False
    known = _known(column)
    return bool(len(known) and np.isin(known, (0.0, 1.0)).all())
