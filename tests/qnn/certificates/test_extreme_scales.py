"""Whatever the scale of data, dual point and budget: what is accepted holds in rational numbers."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from qnn.certificates import Certificate
from qnn.certificates.checker import data_digest, proven_bound
from qnn.certificates.claim import Claim
from qnn.certificates.proofs.branching import BranchingProof
from qnn.certificates.proofs.cuts import CutsProof
from qnn.certificates.proofs.diagonal import DiagonalProof
from qnn.certificates.proofs.enumeration import EnumerationProof
from qnn.errors import CertificateError

Array = np.ndarray

SCALES = (0.0, 5e-324, 1.5e-323, 2.3e-308, 1.55e-162, 1e-150, 1e-8, 1.0, 1e8, 1e20, 1e150, 1e300)
LEVELS = {"binary": (-1, 1), "ternary": (-1, 0, 1), "2": (-3, -1, 1, 3), "3": range(-7, 8, 2)}


def largest_value(X: Array, nu: Array, claim: Claim) -> Fraction:
    """``max |sum_i nu_i sigma_i|`` over all neurons of the claim's kind, without any rounding."""
    rows = [list(map(Fraction, row)) for row in X.tolist()]
    weights = list(map(Fraction, nu.tolist()))
    levels = list(LEVELS[claim.alphabet])
    top = max(levels)
    vectors = [[Fraction(v, top) for v in u] for u in product(levels, repeat=claim.d)]
    products = [[sum(a * b for a, b in zip(u, row, strict=True)) for row in rows] for u in vectors]
    if claim.template is None:
        pairs = ([p * q for p, q in zip(*two, strict=True)] for two in product(products, repeat=2))
    else:
        a, b, c = map(Fraction, claim.template)
        pairs = ([a * p * p + b * p + c for p in one] for one in products)
    return max(abs(sum(w * v for w, v in zip(weights, pair, strict=True))) for pair in pairs)


def drawn(rng: np.random.Generator) -> tuple[Certificate, Array, Array]:
    n, d = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    alphabet = str(rng.choice(list(LEVELS)))
    template = None
    if alphabet != "binary" or rng.uniform() < 0.4:
        template = rng.choice([0.0, 1.0, -0.5, 5e-324, 1e150], 3)
    shape = (n, d) if rng.uniform() < 0.3 else ()
    X = rng.choice(SCALES, shape) * rng.choice(
        [-1.0, 1.0, 0.7, 0.0], (n, d), p=[0.3, 0.3, 0.3, 0.1]
    )
    nu = rng.choice(SCALES) * rng.choice([-1.0, 1.0, 0.3], n)
    beta = float(rng.choice(SCALES[1:]) * rng.choice([1.0, 0.9, 3.0]))
    X = np.ascontiguousarray(X)
    activation = "bilinear" if template is None else "polynomial"
    y = nu.copy()
    claim = Claim(
        0.0, beta, d, data_digest(X, y), activation=activation, polynomial=template,
        alphabet=alphabet,
    )  # fmt: skip
    share = np.full(claim.size, beta * d / claim.size * rng.choice([1.0, 0.999]))
    diagonals = (share,) if template is None else (share, share)
    sides = 1 if template is None else 2
    width = 2 * d if template is None else claim.size
    cuts = np.zeros((1, width), dtype=np.int8)
    cuts[0, 0] = 1
    kinds = [DiagonalProof(diagonals), EnumerationProof()]
    kinds.append(CutsProof(diagonals, cuts, np.full(sides, rng.choice([0.0, 5e-324]))))
    leaves = np.zeros((sides, width // 2 if template is None else width), dtype=np.int8)
    leaves[0, -1] = 1
    if template is not None:
        leaves[1, -1] = -1
    entries = 2 * d + 1 if template is None else claim.size
    kinds.append(BranchingProof(leaves, np.full((sides, entries), beta / 4, dtype=np.float32)))
    proof = kinds[rng.choice([0, 0, 0, 1, 2, 3])]
    return Certificate(claim, nu, proof), X, y


def accepted_and_false(rng: np.random.Generator, count: int) -> tuple[int, list[str]]:
    accepted, false = 0, []
    for _ in range(count):
        with np.errstate(all="ignore"):
            certificate, X, y = drawn(rng)
            try:
                certificate.claim.check()
                certificate.proof.fits(certificate.claim)
                proven_bound(certificate, X, y)
            except CertificateError:
                continue
        accepted += 1
        claim = certificate.claim
        if largest_value(X, certificate.nu, claim) > Fraction(claim.beta) * claim.d:
            false.append(f"{certificate.proof.name} {claim} X={X.tolist()} nu={certificate.nu}")
    return accepted, false


def test_what_is_accepted_at_extreme_scales_holds_exactly():
    accepted, false = accepted_and_false(np.random.default_rng(0), 600)
    assert not false
    assert accepted > 50


@pytest.mark.slow
def test_what_is_accepted_at_extreme_scales_holds_exactly_many_times():
    accepted, false = accepted_and_false(np.random.default_rng(1), 6_000)
    assert not false
    assert accepted > 500


@pytest.mark.parametrize(
    ("alphabet", "template", "x", "nu", "beta"),
    [
        ("ternary", (1.0, 1.0, 0.0), 5e-324, 1e20, 1e-306),
        ("3", (0.0, 1.0, 0.0), 5e-324, 1e20, 1e-306),
        ("binary", None, 1.55e-162, 0.9, 5e-324),
        ("binary", (0.0, 5e-324, 0.0), 1.0, 1e20, 5e-324),
    ],
)
def test_a_budget_that_only_underflow_keeps_is_refused(alphabet, template, x, nu, beta):
    """Every product is 0 in floating arithmetic, so a diagonal of zeros seems to dominate."""
    X, point = np.full((3, 2), x), np.full(3, nu)
    polynomial = None if template is None else np.array(template)
    activation = "bilinear" if template is None else "polynomial"
    claim = Claim(
        0.0, beta, 2, data_digest(X, point), alphabet=alphabet, activation=activation,
        polynomial=polynomial,
    )  # fmt: skip
    zeros = (np.zeros(claim.size),) * (1 if template is None else 2)
    with pytest.raises(CertificateError, match="not proven"):
        proven_bound(Certificate(claim, point, DiagonalProof(zeros)), X, point)
