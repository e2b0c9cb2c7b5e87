"""Every allowance for rounding is there: against the same formulas in rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from qnn.certificates.robustness.forms import BoxForm, middle_and_radius, prove_at_least
from qnn.certificates.robustness.networks import read_network
from qnn.certificates.robustness.quadratic import margin_forms
from qnn.certificates.robustness.relu import (
    interval_layer,
    lagrangian,
    least_margin,
    linear_bound,
    neuron_bounds,
    substituted,
)
from qnn.certificates.robustness.relu_trees import folded
from qnn.errors import CertificateError
from tests.qnn.robustness.cases import KINDS, layered, quantized

F = Fraction
Array = np.ndarray


def rational(values: Array) -> list:
    return [F(v) if np.ndim(v) == 0 else rational(v) for v in np.asarray(values).tolist()] if (
        np.ndim(values)
    ) else F(float(values))  # fmt: skip


def dot(a, b):
    return sum((x * y for x, y in zip(a, b, strict=True)), F(0))


def exact_form(network, row):
    """Constant, linear part and matrix of ``row'f(x)``, exactly."""
    divisor = {"binary": 1, "ternary": 1, "3": 7}[network.alphabet]
    U = [[F(int(v), divisor) for v in column] for column in network.U.T]
    V = U if network.V is None else [[F(int(v), divisor) for v in column] for column in network.V.T]
    alpha = network.alpha.reshape(network.neurons, -1)
    weight = [dot(rational(a), rational(row)) for a in alpha]
    a, b, c = (F(v) for v in (network.polynomial or (1.0, 0.0, 0.0)))
    d = network.d
    A = [
        [
            a
            * sum(w * (u[i] * v[j] + u[j] * v[i]) / 2 for w, u, v in zip(weight, U, V, strict=True))
            for j in range(d)
        ]
        for i in range(d)
    ]
    linear = [b * sum(w * u[i] for w, u in zip(weight, U, strict=True)) for i in range(d)]
    return c * sum(weight), linear, A


@pytest.mark.parametrize(("activation", "alphabet", "outputs"), KINDS)
def test_the_errors_of_a_form_and_of_its_restriction(activation, alphabet, outputs):
    rng = np.random.default_rng(0)
    network = quantized(rng, 3, 9, activation, alphabet, outputs)
    read = read_network(network.to_bytes())
    row = np.array([1.0]) if outputs == 1 else np.array([1.0, -1.0, 0.0])
    (form,) = margin_forms(read.arrays, read.divisor, row[None], np.array([0.3]))
    c, linear, A = exact_form(network, row)
    c += F(0.3)
    assert abs(F(form.constant) - c) <= F(form.constant_error)
    for i in range(3):
        assert abs(F(form.linear[i]) - linear[i]) <= F(form.linear_error[i])
        for j in range(3):
            assert abs(F(form.A[i, j]) - A[i][j]) <= F(form.A_error[i, j])
    size = 1.0 + np.abs(network.alpha).sum()
    assert form.A_error.max() < 1e-12 * size
    centre = rng.normal(size=3) * 10.0 ** rng.integers(-3, 4, size=3)
    at = form.on_box(centre - 0.3, centre + 0.2)
    m, r = (rational(values) for values in middle_and_radius(centre - 0.3, centre + 0.2))
    Am = [dot(A[i], m) for i in range(3)]
    off = abs(F(at.c) - (c + dot(linear, m) + dot(m, Am)))
    for i in range(3):
        off += abs(F(at.g[i]) - r[i] * (linear[i] + 2 * Am[i]))
        off += sum(abs(F(at.H[i, j]) - 2 * r[i] * A[i][j] * r[j]) for j in range(3)) / 2
    assert off <= F(at.error)
    assert at.error <= 1e-11 * (1.0 + np.abs(centre).max() ** 2) * size


def test_middle_and_radius_cover_the_box_and_are_exact_for_signs():
    rng = np.random.default_rng(1)
    low = rng.normal(size=2000) * 10.0 ** rng.integers(-300, 300, size=2000)
    high = low + np.abs(rng.normal(size=2000)) * 10.0 ** rng.integers(-310, 300, size=2000)
    m, r = middle_and_radius(low, high)
    for a, b, mid, rad in zip(low, high, m, r, strict=True):
        assert F(mid) - F(rad) <= F(a)
        assert F(b) <= F(mid) + F(rad)
    m, r = middle_and_radius(np.array([-1.0, 2.0, 5e-324]), np.array([1.0, 2.0, 5e-324]))
    np.testing.assert_array_equal(m, [0.0, 2.0, 5e-324])
    np.testing.assert_array_equal(r, [1.0, 0.0, 0.0])


def test_a_bound_at_the_optimum_is_refused_and_a_little_below_it_proven():
    rng = np.random.default_rng(2)
    for n in (1, 3, 8):
        H = rng.normal(size=(n, n))
        H, g = H @ H.T + np.eye(n), 0.1 * rng.normal(size=n)
        # The minimum inside the box needs no diagonal.
        least = 1.0 - 0.5 * g @ np.linalg.solve(H, g)
        form = BoxForm(1.0, g, H, 0.0, np.arange(n))
        prove_at_least(least - 1e-11, form, np.zeros(n))
        with pytest.raises(CertificateError):
            prove_at_least(least + 1e-13, form, np.zeros(n))
        # Each error of the form costs what it may be.
        off = BoxForm(1.0, g, H, 1e-6, np.arange(n))
        prove_at_least(least - 1.01e-6, off, np.zeros(n))
        with pytest.raises(CertificateError):
            prove_at_least(least - 0.99e-6, off, np.zeros(n))
        with pytest.raises(CertificateError):
            prove_at_least(least - 0.99e-6, form, np.full(n, 1e-5 / n))
        with pytest.raises(CertificateError):
            prove_at_least(least - 0.99e-6, form, np.zeros(n), ball=1e-5)


def relu_values(network, x):
    """All y of the hidden layers and the scores, exactly."""
    found = []
    for W, b in zip(network.weights, network.biases, strict=True):
        y = [dot(x, rational(column)) + F(bias) for column, bias in zip(W.T, b, strict=True)]
        found.append(y)
        x = [max(v, F(0)) for v in y]
    return found


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e6])
def test_bounds_of_neurons_and_the_lagrangian_hold_exactly(scale):
    rng = np.random.default_rng(3)
    network = layered(rng, [3, 5, 5, 4, 2])
    layers = list(zip(network.weights, network.biases, strict=True))
    hidden = layers[:-1]
    centre = rng.normal(size=3)
    box = centre - 0.4 * scale, centre + 0.4 * scale
    bounds = neuron_bounds(hidden, box)
    w, constant, w_error, constant_error = folded(layers, np.array([1.0, -1.0]), 0.25)
    system = substituted(hidden, bounds, box, w, constant)
    bound = least_margin(hidden, bounds, box, w, constant)
    h, n = len(system.y0), len(system.m)
    theta = np.abs(rng.normal(size=sum(system.lengths)))
    theta[n : n + h] *= rng.choice([-1, 1], h)
    form, _ = lagrangian(system, theta)
    lows, highs = rational(box[0]), rational(box[1])
    for _ in range(40):
        t = [F(v) for v in rng.choice([0.0, 1.0, 0.25, 0.9], 3).tolist()]
        x = [a + s * (b - a) for a, b, s in zip(lows, highs, t, strict=True)]
        values = relu_values(network, x)
        flat, ys = [], []
        for y, (lo, u) in zip(values[:-1], bounds, strict=True):
            for value, low, high in zip(y, lo, u, strict=True):
                assert F(low) <= value <= F(high)
                if low < 0.0 < high:
                    flat.append(max(value, F(0)))
                    ys.append(value)
        last = [max(v, F(0)) for v in values[-2]]
        margin = dot(rational(w), last) + F(constant)
        true = values[-1][0] - values[-1][1] + F(0.25)
        assert abs(true - margin) <= dot(rational(w_error), last) + F(constant_error)
        assert F(bound) <= margin
        m, r = rational(system.m), rational(system.r)
        z = [(v - a) / b for v, a, b in zip(x + flat, m, r, strict=True)]
        assert all(abs(v) <= 1 for v in z)
        for k in range(h):
            estimate = F(system.y0[k]) + dot(rational(system.Y[:, k]), z)
            assert abs(estimate - ys[k]) <= F(system.error[k])
        estimate = F(system.c) + dot(rational(system.g), z)
        assert abs(estimate - margin) <= F(system.margin_error)
        product, above, positive = (rational(theta[n + k * h : n + (k + 1) * h]) for k in range(3))
        value = margin
        for k in range(h):
            value -= product[k] * flat[k] * (ys[k] - flat[k]) + above[k] * (flat[k] - ys[k])
            value -= positive[k] * flat[k]
        Hz = [dot(rational(line), z) for line in form.H]
        stated = F(form.c) + dot(rational(form.g), z) + dot(z, Hz) / 2
        assert abs(stated - value) <= F(form.error)


def test_linear_and_interval_bounds_pay_for_their_sums():
    """Numbers of 1e8 that cancel: what is left is their rounding."""
    rng = np.random.default_rng(4)
    W = rng.normal(size=(40, 1)) * 1e8
    b = np.zeros(1)
    x = rng.normal(size=40)
    exact = dot(rational(W[:, 0]), rational(x))
    low, high = interval_layer((W, b), x, x)
    assert F(low[0]) <= exact <= F(high[0])
    above = linear_bound([], [], (x, x), W, b)
    below = -linear_bound([], [], (x, x), -W, -b)
    assert F(below[0]) <= exact <= F(above[0])
    assert high[0] - low[0] < 1e-4
    assert above[0] - below[0] < 1e-4
