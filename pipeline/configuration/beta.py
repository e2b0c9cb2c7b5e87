"""β as a person writes it: a number, or a fraction of the β from which on nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qnn.errors import InputError

BetaKind = Literal["fractions", "values"]


@dataclass(frozen=True)
class Beta:
    """A point of a path: `written` is a fraction of β_max or a value, as `kind` says."""

    written: float
    kind: BetaKind

    @property
    def planned(self) -> tuple[float | None, float | None]:
        """β and the fraction as far as they are known before any data are seen."""
        return (self.written, None) if self.kind == "values" else (None, self.written)

    def resolve(self, beta_max: float) -> tuple[float, float | None]:
        """β and the fraction, for data on which all networks are zero from `beta_max` on.

        A value is no fraction of 0: None. Raises `InputError` for a fraction of 0.
        """
        if self.kind == "values":
            return self.written, self.written / beta_max if beta_max > 0 else None
        if beta_max <= 0:
            raise InputError(
                "beta_max is 0 on this shard (all targets are 0), so fractions of it mean nothing; "
                "give beta.values"
            )
        return self.written * beta_max, self.written


def column_of(kind: str) -> str:
    """The column of the results that has β as it was written."""
    return "beta_fraction" if kind == "fractions" else "beta"
