"""The proof layer by layer: its parts against dense ones, and every number of it attacked."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from qnn.certificates.robustness import relu, verify
from qnn.certificates.robustness.structured import bounds as layered
from qnn.certificates.robustness.structured import fronts
from qnn.certificates.robustness.structured.form import Stack, proven_value
from qnn.errors import CertificateError
from qnn.robustness import Limits, certify, means
from qnn.robustness.duals.first_order import ascend
from tests.qnn.robustness.cases import layered as network_of

FIRST = Limits(nodes=1, gap=1e-3, solver="first_order")


def stack_of(seed, sizes, ball, radius=0.4):
    rng = np.random.default_rng(seed)
    network = network_of(rng, sizes)
    layers = list(zip(network.weights, network.biases, strict=True))
    x = rng.normal(size=sizes[0])
    inputs = layered.Inputs(x, np.full(sizes[0], radius), ball)
    hidden = layered.sparse_layers(layers[:-1])
    bounds = layered.neuron_bounds(hidden, inputs)
    w = network.weights[-1] @ np.eye(sizes[-1])[0]
    return network, inputs, Stack(hidden, bounds, inputs, w, float(network.biases[-1][0]))


@pytest.mark.parametrize("seed", range(4))
def test_sparse_bounds_are_the_dense_ones(seed):
    network, inputs, stack = stack_of(seed, [4, 6, 5, 4, 2], False)
    box = inputs.m - inputs.r, inputs.m + inputs.r
    layers = list(zip(network.weights[:-1], network.biases[:-1], strict=True))
    dense = relu.neuron_bounds(layers, box)
    for own, other in zip(stack.bounds, dense, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-11)
    least = relu.least_margin(layers, dense, box, stack.w, stack.constant)
    own = layered.least_margin(stack.layers, stack.bounds, inputs, stack.w, stack.constant)
    assert own == pytest.approx(least, abs=1e-11)


@pytest.mark.parametrize("ball", [False, True])
def test_bounds_and_forms_hold_at_points(ball):
    _, inputs, stack = stack_of(5, [3, 6, 5, 2], ball)
    rng = np.random.default_rng(6)
    Z = rng.uniform(-1, 1, size=(500, 3))
    if ball:
        Z /= np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1.0)
    k = stack.read(random_multipliers(stack, rng))
    form = stack.form(k)
    H = form.couplings.toarray() + np.diag(form.diagonal)
    for z in Z:
        x, parts, slack = inputs.m + inputs.r * z, [z], 0.0
        for i, (M, b) in enumerate(stack.layers):
            y = M @ x + b
            lo, u = stack.bounds[i]
            assert np.all(lo <= y)
            assert np.all(y <= u)
            x = np.maximum(y, 0.0)
            p, above, positive, t = stack._of_layer(k, i)
            line = stack.slope[i] * (y - stack.corner[i]) - x
            assert np.all(line[stack.either[i]] >= 0.0)
            slack += p @ (x * (y - x)) + above @ (x - y) + positive @ x + t @ line
            r = stack.r[i + 1]
            parts.append(np.where(r > 0.0, (x - stack.m[i + 1]) / np.where(r > 0.0, r, 1.0), 0.0))
        full = np.concatenate(parts)
        assert np.all(np.abs(full) <= 1.0 + 1e-12)
        margin = stack.w @ x + stack.constant
        value = form.c + form.g @ full + 0.5 * full @ H @ full
        assert value == pytest.approx(margin - slack, abs=1e-10 + 2.0 * form.error)


def random_multipliers(stack, rng):
    on, either = np.concatenate(stack.on), np.concatenate(stack.either)
    h = stack.h
    above = np.where(on, rng.normal(size=h), rng.uniform(size=h))
    kappa = rng.uniform(1.0, 9.0, size=stack.N)
    ball = [rng.uniform()] if stack.inputs.ball else [0.0]
    numbers = [kappa, rng.normal(size=h), above, rng.uniform(size=h), either * rng.uniform(size=h)]
    return np.concatenate([*numbers, ball, rng.normal(size=stack.N)])


def test_the_value_is_that_of_its_formula_and_best_at_the_solution():
    _, _, stack = stack_of(7, [3, 5, 4, 2], True)
    k = stack.read(random_multipliers(stack, np.random.default_rng(8)))
    form = stack.form(k)
    diagonal = form.diagonal + k.kappa + k.ball * (np.arange(stack.N) < stack.d)
    P = np.diag(diagonal) + form.couplings.toarray()
    left = form.g - P @ k.q
    wanted = form.c - 0.5 * (k.kappa.sum() + k.ball + k.q @ P @ k.q) - np.abs(left).sum()
    assert proven_value(form, k, stack.d) == pytest.approx(wanted, abs=1e-10)
    assert proven_value(form, k, stack.d) < wanted


@pytest.mark.parametrize("seed", range(12))
def test_fronts_prove_what_is_semidefinite_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 260))
    A = sparse.random_array((n, n), density=min(1.0, 4.0 / n), rng=rng)
    A = sparse.csr_array(A + A.T)
    A.setdiag(0.0)
    least = -np.linalg.eigvalsh(A.toarray())[0]
    fronts.prove_semidefinite(np.full(n, least + 1e-7), A, 1.0)
    if least > 0.0:
        with pytest.raises(CertificateError):
            fronts.prove_semidefinite(np.full(n, least - 1e-7), A, 1.0)
    order = rng.permutation(np.flatnonzero(np.diff(A.indptr)))
    part = sparse.csr_array(A[np.sort(order)][:, np.sort(order)])
    fronts._eliminate(np.full(len(order), least + 1e-7), part, rng.permutation(len(order)))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(means, "STEPS", 20)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0])
def test_fronts_refuse_what_is_no_number(value):
    A = sparse.csr_array(np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    with pytest.raises(CertificateError):
        fronts.prove_semidefinite(np.array([value, 1.0, 2.0]), A, 1.0)
    A.data[:2] = value if value else 2.0
    with pytest.raises(CertificateError):
        fronts.prove_semidefinite(np.array([1.0, 1.0, 1.0]), A, 1.0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_number_of_a_proof_is_attacked(norm):
    """Nothing that is changed proves more than an attack allows, and nothing crashes."""
    rng = np.random.default_rng(3)
    network = network_of(rng, [3, 5, 4, 3])
    found = certify(network, rng.normal(size=3), 1.0, norm, effort="dual", search=FIRST)
    certificate = found.certificate
    assert (certificate.splits == -3).any()
    assert verify(certificate, network) == found.lower_bound
    for place in range(len(certificate.multipliers)):
        for value in (np.nan, 1e300, -1.0):
            proves_nothing_false(certificate, network, found, multipliers=(place, value))
    for place in range(len(certificate.splits)):
        for value in (-1, -3, -4, -5, 0, 3, 11, 12, 2**31 - 1):
            proves_nothing_false(certificate, network, found, splits=(place, value))
    for bound in (found.upper_bound + 1e-9, np.inf, np.nan, 1e300):
        with pytest.raises(CertificateError):
            verify(certificate.stating(bound), network)


def proves_nothing_false(certificate, network, found, **changes):
    """A changed proof of more than an attack has found is refused."""
    for name, (place, value) in changes.items():
        array = getattr(certificate, name).copy()
        array[place] = value
        changed = replace(certificate, **{name: array}, lower_bound=found.upper_bound + 1e-9)
        with pytest.raises(CertificateError):
            verify(changed, network)


def test_multipliers_of_what_does_not_hold_are_refused():
    _, _, stack = stack_of(9, [3, 6, 5, 2], False)
    done = ascend(stack, steps=30)
    stack.prove_at_least(done.value - 1e-9, done.multipliers)
    either = np.concatenate(stack.either)
    triangle = stack.N + 3 * stack.h + np.flatnonzero(~either)
    assert len(triangle)
    for place in (*triangle, 2 * stack.h + stack.N + 2 * stack.h):  # the last: a ball's, of a box
        changed = done.multipliers.copy()
        changed[place] = 1.0
        with pytest.raises(CertificateError):
            stack.prove_at_least(-1e9, changed)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e-30, 1e30, 1e150])
def test_extreme_scales_prove_nothing_false(scale):
    rng = np.random.default_rng(4)
    bare = network_of(rng, [3, 5, 3])
    for weights, biases in (
        ([bare.weights[0] * scale, bare.weights[1]], [b * scale for b in bare.biases]),
        ([bare.weights[0], bare.weights[1] * scale], list(bare.biases)),
    ):
        network = type(bare)(tuple(weights), tuple(biases))
        x = rng.normal(size=3)
        for norm in ("linf", "l2"):
            found = certify(network, x, 0.3, norm, effort="dual", search=FIRST)
            assert found.lower_bound <= found.upper_bound
            assert verify(found.certificate, network) == found.lower_bound
