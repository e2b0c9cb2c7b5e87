"""β as a person writes it: a number, or a fraction of the β from which on nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from qnn.errors import InputError

BetaForm = Literal["fractions", "values"]


@dataclass(frozen=True)
class Beta:
    """A point of a path: `written` is a fraction of β_max or a value, as `form` says.

    `maximum` is β_max, None before any data are seen.
    """

    written: float
    form: BetaForm
    maximum: float | None = None

    def resolve(self, maximum: float) -> Beta:
        """The same for data on which all networks are zero from `maximum` on.

        Raises `InputError` for a fraction of 0.
        """
        if self.form == "fractions" and maximum <= 0:
            raise InputError(
                "beta_max is 0 on this shard (all targets are 0), so fractions of it mean nothing; "
                "give beta.values"
            )
        return replace(self, maximum=maximum)

    @property
    def value(self) -> float | None:
        """The price of a neuron; None as long as it hangs on β_max."""
        if self.form == "values":
            return self.written
        return None if self.maximum is None else self.written * self.maximum

    @property
    def fraction(self) -> float | None:
        """The share of β_max; None as long as that is not known. A value is no fraction of 0."""
        if self.form == "fractions":
            return self.written
        if self.maximum is None or self.maximum <= 0:
            return None
        return self.written / self.maximum

    @property
    def columns(self) -> dict[str, Any]:
        """The point as the columns of a row."""
        return {"beta": self.value, "beta_fraction": self.fraction, "beta_max": self.maximum}


def column_of(form: BetaForm) -> str:
    """The column of the results that has β as it was written."""
    return "beta_fraction" if form == "fractions" else "beta"
