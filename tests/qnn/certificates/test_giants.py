"""Numbers, sizes and searches beyond what a checker can take are a verdict, not a crash."""

from dataclasses import replace

import numpy as np
import pytest

from qnn.certificates.csp import CspCertificate, Payoffs, verify_csp
from qnn.certificates.csp import checker as csp
from qnn.certificates.layers import LayerCertificate, rows_digest, verify_layer
from qnn.certificates.layers import checker as layers
from qnn.certificates.moments import MomentCertificate
from qnn.certificates.moments.structure import structure
from qnn.certificates.reconstruction.distance import interval_distance
from qnn.certificates.robustness.forms import BoxForm, prove_at_least
from qnn.certificates.slack import prove_budget
from qnn.errors import CertificateError, InputError
from qnn.losses import get_loss
from qnn.numerics.floating import summed

LARGEST = np.finfo(np.float64).max
INT, FLOAT, CODE = np.int32, np.float32, np.int8


def test_sums_that_overflow_are_a_verdict():
    with pytest.raises(CertificateError, match="spends more"):
        prove_budget(np.full(3, 1e308), 1.0, 3)
    # Large numbers cancel, and the budget is compared exactly.
    prove_budget(np.array([1e308, 1e308, -1e308, -1e308, 1.0]), 1.0, 2)
    # `nu'y - nu^2 / 2` of each is finite, but not their sum.
    with pytest.raises(CertificateError, match="the dual value overflows"):
        get_loss("squared").proven_dual_value(np.full(3, 1.3e154), np.full(3, 1.3e154), 1.0)
    with pytest.raises(CertificateError, match="the dual value overflows"):
        get_loss("absolute").proven_dual_value(np.ones(3), np.full(3, 1e308), 1.0)
    form = BoxForm(0.0, np.zeros(3), np.zeros((3, 3)), 0.0, np.arange(3))
    with pytest.raises(CertificateError, match="a bound overflows"):
        prove_at_least(-1.0, form, np.full(3, 1e308))
    layer = (np.zeros((1, 3)), np.full(3, 1e154))
    with pytest.raises(CertificateError, match="the distance overflows"):
        interval_distance(layer, (np.zeros(1), np.zeros(1)), np.zeros(3))
    assert summed(np.array([LARGEST, 1.0, -1.0]), "it") == LARGEST
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(CertificateError, match="it overflows"):
            summed(np.array([1.0, value, -value]), "it")


@pytest.mark.parametrize(
    ("claim", "size", "bound"),
    [
        ("outside", 0.0, "1" + "0" * 900),
        ("outside", 1e308, "1" + "0" * 900),
        ("maximum", 1e308, "1" + "0" * 900),
        ("maximum", 1e308, "5"),
        ("inside", 0.0, "1" + "0" * 900),
    ],
)
def test_a_bound_of_moments_beyond_all_floats_is_a_verdict(claim, size, bound):
    level = structure("2222", "1")
    behaviour, free = np.full(level.coordinates, size), np.zeros(level.free)
    certificate = MomentCertificate(
        claim, "2222", "1", behaviour, bound, free if claim == "inside" else None,
        None if claim == "inside" else np.eye(level.size),
    )  # fmt: skip
    with pytest.raises(CertificateError):
        certificate.check()


def problem(n: int, k: int) -> Payoffs:
    """A problem without any constraint."""
    none = np.zeros((0, 2), dtype=INT), np.zeros((0, k, k))
    return Payoffs(n, k, 0.0, np.zeros((n, k)), *none)


def nothing_proven(payoffs: Payoffs) -> CspCertificate:
    """One leaf, its diagonal next to 0."""
    n, k = payoffs.n, payoffs.k
    diagonal, pairs = np.full(1 + n * (k - 1), 1e-20), np.zeros(n * ((k - 1) * (k - 2) // 2))
    return CspCertificate(
        n, k, payoffs.digest(), 1.0, -1, np.array([-1], INT), diagonal.astype(FLOAT),
        pairs.astype(FLOAT), np.zeros(1, INT), np.zeros(0, INT), np.zeros(0, CODE),
        np.zeros(2, INT), np.zeros(0, INT), np.zeros(0, FLOAT),
    )  # fmt: skip


@pytest.mark.parametrize(("n", "k"), [(30_000, 2), (1, 1500)])
def test_a_problem_larger_than_the_memory_is_a_verdict(monkeypatch, n, k):
    """Files of some kilobytes ask for 26.8 and 12.5 GiB."""
    monkeypatch.setattr(csp, "available_memory", lambda: 8.0 * 2**30)
    payoffs = problem(n, k)
    with pytest.raises(CertificateError, match=r"takes some [\d.]+ GiB of memory, and 8 are free"):
        verify_csp(nothing_proven(payoffs), payoffs)
    small = problem(min(n, 20), min(k, 5))
    assert verify_csp(nothing_proven(small), small) == 0.0


def test_a_tree_of_more_leaves_than_fit_is_a_verdict(monkeypatch):
    monkeypatch.setattr(csp, "available_memory", lambda: 2.0**30)
    payoffs = problem(200, 2)
    tree, starts = np.full(10_000_000, -1, INT), np.zeros(10_000_001, INT)
    certificate = replace(nothing_proven(payoffs), tree=tree, leaf_starts=starts)
    with pytest.raises(CertificateError, match="GiB of memory"):
        verify_csp(certificate, payoffs)


def test_starts_whose_differences_wrap_around_are_a_verdict():
    payoffs = problem(3, 2)
    certificate = replace(
        nothing_proven(payoffs), cut_starts=np.array([0, 2**31 - 1, -2, 2], INT),
        cut_entries=np.array([0, 1], INT), cut_coefficients=np.array([1, 0], CODE),
    )  # fmt: skip
    with pytest.raises(CertificateError, match="laid out one after the other"):
        verify_csp(certificate, payoffs)


@pytest.mark.parametrize("name", ["unary", "pairs", "tables"])
def test_payoffs_without_their_axes_are_no_problem(name):
    payoffs = problem(3, 2)
    odd = np.zeros((), dtype=getattr(payoffs, name).dtype)
    data = replace(payoffs, **{name: odd}).to_bytes()
    with pytest.raises(InputError, match="wrong type"):
        Payoffs.from_bytes(data, "here")
    with pytest.raises(CertificateError, match="wrong type"):
        nothing_proven(payoffs).check(data)


def searched(d: int, nodes: int) -> tuple[LayerCertificate, np.ndarray]:
    """An optimum at a step that any other half of the inputs attains as well: a long search."""
    X = np.vstack([np.ones(d), -np.ones(d)])
    rho, codes = 0.25, np.array([[0, 1] * (d // 2)], dtype=CODE)
    value, zeros = rho * d / 4, np.zeros((1, d))
    certificate = LayerCertificate(
        "l", rows_digest(X, None), np.full((1, d), 0.5), np.array([rho]), np.array([2]),
        np.array([1.0]), codes, np.array([value * (1 + 1e-9)]), np.array([value * (1 - 1e-7)]),
        np.array([1]), zeros, zeros, np.arange(d)[None], np.zeros(0), np.zeros(1, np.int64),
        np.array([nodes]),
    )  # fmt: skip
    return certificate, X


@pytest.mark.parametrize("nodes", [4 * 10**17, 2**62, layers.MOST_NODES + 1])
def test_a_search_is_as_long_as_is_allowed_whatever_it_states(nodes):
    certificate, X = searched(40, nodes)
    with pytest.raises(CertificateError, match=f"state {nodes} nodes.*larger most_nodes"):
        verify_layer(certificate, X)


def test_searches_of_all_neurons_share_what_is_allowed():
    certificate, X = searched(8, 1)
    names = ("target", "rho", "bits", "scale", "codes", "value", "bound", "state", "square",
             "linear", "edge_counts", "nodes")  # fmt: skip
    nine = {name: np.repeat(getattr(certificate, name), 9, axis=0) for name in names}
    many = replace(certificate, **nine)
    assert verify_layer(many, X).state == ["optimal_at_scale"] * 9
    assert verify_layer(certificate, X, most_nodes=1_000).state == ["optimal_at_scale"]
    with pytest.raises(CertificateError, match="far more nodes"):
        verify_layer(many, X, most_nodes=1_000)
    with pytest.raises(CertificateError, match="larger most_nodes"):
        verify_layer(many, X, most_nodes=8)
