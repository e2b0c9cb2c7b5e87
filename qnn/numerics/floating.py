"""Sums in floating point that stay below the exact ones: what a lower bound is proven with."""

import math

import numpy as np

from qnn.errors import CertificateError

Array = np.ndarray

UNIT = 2.0**-53
TINY = float(np.finfo(np.float64).tiny)


def gamma(k: int) -> float:
    """``gamma_k = k u / (1 - k u)``: the relative error of k roundings one after the other."""
    return k * UNIT / (1.0 - k * UNIT)


def summed(values: Array, what: str) -> float:
    """The sum (n,), rounded once. Raises CertificateError, that ``what`` overflows, if it does."""
    try:
        total = math.fsum(values.tolist())
    except (OverflowError, ValueError):
        total = math.nan
    if not math.isfinite(total):
        raise CertificateError(f"{what} overflows")
    return total


def sum_below(terms: Array, nu: Array, margin: float) -> float:
    """Below the exact sum of products with nu, at most two for each, rounded at most twice.

    ``margin`` multiplies the allowance for rounding. Raises CertificateError on overflow.
    """
    total, size = (summed(values, "the dual value") for values in (terms, np.abs(terms)))
    return total - margin * (4.0 * UNIT * size + 2 * np.count_nonzero(nu) * TINY)


def parabola_below(nu: Array, y: Array, margin: float, weight: Array | float = 1.0) -> float:
    """Below ``nu'y - sum nu^2 / (2 weight)``, weights within `qnn.numerics.weights`' bounds.

    Else as `sum_below`: a quotient that loses digits is below 2^-1022, and what it is multiplied
    with then small enough for the allowance of a product.
    """
    return sum_below(np.concatenate([nu * y, -0.5 * nu * (nu / weight)]), nu, margin)


def parabolas_below(nu: Array, y: Array, margin: float, weight: Array | float = 1.0) -> Array:
    """Below ``nu'y - sum nu^2 / (2 weight)`` for each row of nu (K, n), (K,); y (n,).

    Terms as in `parabola_below`, 2 n of them, but summed in floating arithmetic, in whatever order:
    that rounds by ``gamma_2n`` of the sum of their absolute values, which itself is computed so.
    It is infinite, or no number, where numbers overflow.
    """
    n = nu.shape[1]
    products, squares = nu * y, 0.5 * nu * (nu / weight)
    total = products.sum(axis=1) - squares.sum(axis=1)
    size = np.abs(products).sum(axis=1) + squares.sum(axis=1)
    return total - margin * (gamma(4 * n + 20) * size + 2 * n * TINY)
