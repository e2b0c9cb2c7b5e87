"""The margins of a quantized network are quadratic forms of its input; leaves that bound them.

``f(x) = sum_j alpha_j (x'u_j)(x'v_j) = x'Ax`` with ``A = sum_j alpha_j (u_j v_j' + v_j u_j') / 2``,
or with ``sigma(t) = a t^2 + b t + c`` a form with a linear part and a constant. The inputs are
homogeneous in neither: the constant column is one that does not move.

A leaf of a box has a number k_j for each input that is not fixed in it, of an ellipsoid one number:
see `forms`. A tree splits a box at a number, or where the form is concave along an input, or the
input is a bit, into its two ends; a bit that is set sets all lower ones of its chain, one that is
not none of the higher.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qnn.certificates.robustness.forms import Form, prove_at_least, with_evaluation
from qnn.certificates.robustness.question import DUAL
from qnn.certificates.robustness.regions import Region
from qnn.errors import CertificateError
from qnn.numerics.floating import TINY, gamma

Array = np.ndarray
Box = tuple[Array, Array]


def margin_forms(arrays: dict[str, Array], divisor: int, C: Array, offsets: Array) -> list[Form]:
    """The margins ``C f(x) + offsets`` as forms: C (K, outputs), offsets (K,).

    arrays: ``U`` and ``V`` (d, m) int8 or ``polynomial``, ``alpha`` (m,) or (m, outputs); the
    weights are the integers over ``divisor``.
    """
    alpha = arrays["alpha"].reshape(len(arrays["alpha"]), -1)
    return [
        _form(arrays, divisor, alpha @ row, np.abs(alpha) @ np.abs(row), float(offset))
        for row, offset in zip(C, offsets, strict=True)
    ]


def _form(
    arrays: dict[str, Array], divisor: int, weight: Array, size: Array, offset: float
) -> Form:
    """One margin; ``weight`` (m,) has at most two roundings, of sums of absolute value ``size``."""
    U = arrays["U"].astype(np.float64)
    V = arrays["V"].astype(np.float64) if "V" in arrays else U
    a, b, c = arrays["polynomial"].tolist() if "polynomial" in arrays else (1.0, 0.0, 0.0)
    m = U.shape[1]
    share = gamma(2 * m + 40)
    lost = (m + 10.0) * 2.0**16 * TINY * (1.0 + abs(a) + abs(b) + abs(c))
    A = (U * weight) @ V.T
    A_size = (np.abs(U) * size) @ np.abs(V).T
    scale = 2.0 * divisor * divisor
    A, A_size = a * (A + A.T) / scale, abs(a) * (A_size + A_size.T) / scale
    linear, linear_size = b * (U @ weight) / divisor, abs(b) * (np.abs(U) @ size) / divisor
    constant, constant_size = c * float(weight.sum()) + offset, abs(c) * float(size.sum())
    errors = (
        share * (constant_size + abs(offset)) + lost,
        share * linear_size + lost,
        share * A_size + lost,
    )
    values = (np.abs(A).max(initial=0.0), np.abs(linear).max(initial=0.0), abs(constant))
    if not np.isfinite([*values, errors[0]]).all() or not np.isfinite(errors[2]).all():
        raise CertificateError("the network's weights overflow")
    return with_evaluation(constant, linear, A, errors)


def children(region: Region, form: Form, box: Box, coordinate: int, cut: float) -> Iterator[Box]:
    """The two boxes that cover a box for the form's minimum; CertificateError where they do not."""
    low, high = box
    if not low[coordinate] < high[coordinate]:
        raise CertificateError("a split is of an input that is fixed")
    chain = region.chains[coordinate]
    ends = bool(np.isnan(cut))
    if ends and chain < 0 and not form.concave(coordinate):
        raise CertificateError("a split at the ends is of an input along which nothing is concave")
    if not ends and (chain >= 0 or not low[coordinate] <= cut <= high[coordinate]):
        raise CertificateError("a split lies outside its box")
    lower, upper = high.copy(), low.copy()
    lower[coordinate] = low[coordinate] if ends else cut
    upper[coordinate] = high[coordinate] if ends else cut
    if chain >= 0:
        others = np.flatnonzero(region.chains == chain)
        lower[others[others > coordinate]] = -1.0
        upper[others[others < coordinate]] = 1.0
    yield low, lower
    yield upper, high


class Leaves:
    """Reads trees and proves their leaves, one margin and one cell after the other."""

    def __init__(self, region: Region, splits: Array, cuts: Array, multipliers: Array) -> None:
        if splits.shape != cuts.shape:
            raise CertificateError("each split needs its cut")
        self.region, self.splits, self.cuts, self.multipliers = region, splits, cuts, multipliers
        self.node = self.number = 0

    def prove(self, form: Form, cell: int, bound: float, margin: float) -> None:
        """Read the next tree and prove that the form is at least ``bound`` on its cell."""
        if self.region.axes.any():
            if self._next()[0] != DUAL:
                raise CertificateError("a ball is not split")
            self._prove_ball(form, cell, bound, margin)
            return
        pending: list[Box] = [(self.region.low[cell], self.region.high[cell])]
        while pending:
            box = pending.pop()
            coordinate, cut = self._next()
            if coordinate == DUAL:
                self._prove_box(form, box, bound, margin)
            elif 0 <= coordinate < len(box[0]):
                pending.extend(reversed(list(children(self.region, form, box, coordinate, cut))))
            else:
                raise CertificateError("a split is of no input")

    def finished(self) -> None:
        """Raise CertificateError unless everything was read."""
        if self.node != len(self.splits) or self.number != len(self.multipliers):
            raise CertificateError("there are more leaves or multipliers than trees")

    def _prove_box(self, form: Form, box: Box, bound: float, margin: float) -> None:
        at = form.on_box(*box)
        kappa = self._take(len(at.free))
        signs = self.region.chains[at.free] >= 0
        if np.any(kappa[~signs] < 0.0):
            raise CertificateError("a multiplier is negative")
        prove_at_least(bound, at, kappa, 0.0, margin)

    def _prove_ball(self, form: Form, cell: int, bound: float, margin: float) -> None:
        at = form.around(self.region.low[cell], self.region.axes)
        (ball,) = self._take(1)
        if not ball >= 0.0:
            raise CertificateError("a multiplier is negative")
        prove_at_least(bound, at, np.zeros(len(at.free)), float(ball), margin)

    def _next(self) -> tuple[int, float]:
        if self.node >= len(self.splits):
            raise CertificateError("the tree ends before it covers the region")
        self.node += 1
        return int(self.splits[self.node - 1]), float(self.cuts[self.node - 1])

    def _take(self, count: int) -> Array:
        self.number += count
        if self.number > len(self.multipliers):
            raise CertificateError("multipliers are missing")
        return self.multipliers[self.number - count : self.number]
