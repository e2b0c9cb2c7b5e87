"""The search over codes with diagonals: it proves the optimum and no more, whatever they say."""

import itertools

import numpy as np
import pytest

from qnn.certificates.layers.search import prove_at
from qnn.errors import CertificateError
from qnn.quantization.layers.diagonals import leading_diagonals
from qnn.quantization.layers.grids import limits

Array = np.ndarray


def searchable(seed: int, d: int = 5, bits: int = 2) -> tuple[Array, Array, float, float]:
    """R, w, a step, and the least ``|R (s q - w)|^2`` of all codes by enumeration."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((3 * d, d)) @ rng.standard_normal((d, d))
    R = np.linalg.cholesky(mixed.T @ mixed / d + 1e-3 * np.eye(d)).T
    w, s = rng.standard_normal(d), float(rng.uniform(0.3, 1.5))
    lo, hi = limits(bits)
    Q = np.array(list(itertools.product(range(lo, hi + 1), repeat=d)), float)
    return R, w, s, float((((s * Q - w) @ R.T) ** 2).sum(axis=1).min())


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("seed", range(15))
def test_a_search_with_diagonals_proves_the_optimum_and_no_more(seed: int, scale: float) -> None:
    R, w, s, best = searchable(seed)
    R, best = scale * R, scale**2 * best
    lo, hi = limits(2)
    whole = -s * s * leading_diagonals(R)
    nothing = np.zeros(5)
    plain = prove_at(R, w, s, lo, hi, best * (1.0 - 1e-6), 10**6, 2.0)
    for rest in ((whole[0], whole[1]), (nothing, whole[1]), (whole[0], nothing), (0.3 * whole[0],
                 nothing)):  # fmt: skip
        nodes = prove_at(R, w, s, lo, hi, best * (1.0 - 1e-6), 10**6, 2.0, rest)
        assert nodes <= plain
        for factor in (1.0 + 1e-6, 1.5, 10.0):
            with pytest.raises(CertificateError, match="not proven to cost"):
                prove_at(R, w, s, lo, hi, best * factor, 10**6, 2.0, rest)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", [1.3, 10.0, 1e6, 1e300, -1.0, -1e300, np.nan, np.inf, -np.inf])
def test_a_diagonal_that_is_not_below_is_refused(value: float) -> None:
    R, w, s, best = searchable(3)
    lo, hi = limits(2)
    for row in range(2):
        rest = -s * s * leading_diagonals(R)
        rest[row] *= value
        with pytest.raises(CertificateError):
            prove_at(R, w, s, lo, hi, best * (1.0 - 1e-6), 10**6, 2.0, (rest[0], rest[1]))
        rest = -s * s * leading_diagonals(R)
        rest[row, 0] = -abs(value) * 1e3 * float((R.T @ R).max()) * s * s
        with pytest.raises(CertificateError):
            prove_at(R, w, s, lo, hi, best * 0.5, 10**6, 2.0, (rest[0], rest[1]))
