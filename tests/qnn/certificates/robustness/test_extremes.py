"""Networks at the edge of float64: no margin is accepted that a row of the region falls below.

Exact minima are those of rational arithmetic. Each network alone is one that was accepted once.
"""

import hashlib
from fractions import Fraction as F
from itertools import pairwise

import numpy as np
import pytest

from qnn.certificates.reconstruction import ReconstructionCertificate
from qnn.certificates.robustness import Question, RobustnessCertificate, verify
from qnn.certificates.robustness.regions import region_of
from qnn.errors import CertificateError
from qnn.numerics.archive import pack_arrays

Array = np.ndarray
Layers = list[tuple[list[list[float]], list[float]]]
ALONE = np.zeros(0)

# f(0) = f(-1) = 5e7, f(1) = -5e7: the hidden neuron lies between -1e308 and 1e308.
WIDE: Layers = [([[1e308]], [0.0]), ([[-1e-300]], [5e7])]
# f(0) = -0.5: the last hidden neuron lies between -5e299 and 1e-300, a slope that underflows.
STEEP: Layers = [([[1.0]], [-0.5]), ([[-1e300]], [1e-300]), ([[-1e300]], [0.5])]


def packed(layers: Layers) -> bytes:
    arrays = {"layers": np.asarray(len(layers))}
    for index, (W, b) in enumerate(layers):
        arrays |= {f"W{index}": np.array(W), f"b{index}": np.array(b)}
    return pack_arrays(arrays)


def claimed(
    network: bytes, bound: float, kind: int, multipliers: Array = ALONE, radius: float = 1.0
) -> RobustnessCertificate:
    """That the one score is at least ``bound`` for an input within the radius of 0."""
    infinite, none = np.array([np.inf]), np.full(2, np.nan)
    digest = hashlib.sha256(network).hexdigest()
    around = np.zeros(1), np.array([radius]), -infinite, infinite
    question = Question(digest, "linf", *around, (), (), 0, 1, none)
    return RobustnessCertificate(question, bound, np.array([kind]), np.zeros(1), multipliers)


def score(layers: Layers, x: F) -> F:
    """The one score of the one input, without any rounding."""
    values = [x]
    for index, (W, b) in enumerate(layers):
        inputs = [max(v, F(0)) for v in values] if index else values
        values = [
            sum((F(w) * v for w, v in zip(column, inputs, strict=True)), F(bias))
            for column, bias in zip(zip(*W, strict=True), b, strict=True)
        ]
    return values[0]


def least(layers: Layers, radius: float) -> F:
    """The exact least score: at an end, or where a neuron changes its sign."""
    places = [F(-radius), F(radius)]
    for depth in range(1, len(layers)):
        for neuron in range(len(layers[depth - 1][1])):
            W, b = layers[depth - 1]
            alone = [*layers[: depth - 1], ([[row[neuron]] for row in W], [b[neuron]])]
            for left, right in pairwise(sorted(places)):
                low, high = score(alone, left), score(alone, right)
                if (low < 0) != (high < 0):
                    places.append(left + (right - left) * low / (low - high))
    return min(score(layers, x) for x in places)


@pytest.mark.parametrize("kind", [-2, -4])
@pytest.mark.parametrize(("layers", "bound"), [(WIDE, 4.9e7), (STEEP, 0.4)])
def test_a_line_above_a_neuron_is_above_it_whatever_its_bounds_are(layers, bound, kind):
    network = packed(layers)
    assert least(layers, 1.0) < F(bound)
    with pytest.raises(CertificateError, match=r"overflow|prove"):
        verify(claimed(network, bound, kind), network)
    # Within a radius that keeps the neuron in range the same networks have proofs.
    near = claimed(network, -1e9, kind, radius=0.4)
    assert verify(near, network) == -1e9


def test_a_distance_is_not_bounded_by_a_line_that_overflows():
    network = packed(WIDE)
    assert (score(WIDE, F(1)) - F(5e7)) ** 2 > F(10) ** 15
    certificate = ReconstructionCertificate(
        hashlib.sha256(network).hexdigest(), np.zeros(1), np.ones(1), np.array([5e7]), 6000.0,
        np.array([-2]), np.zeros(1), np.zeros(0),
    )  # fmt: skip
    with pytest.raises(CertificateError, match="overflow"):
        certificate.check(network)


def test_a_multiplier_multiplies_what_underflows():
    """m m underflows to more than it is, and its multiplier of 8e307 makes that a bound."""
    slope, p = 3.2e-162, 8e307
    m = 0.5 * slope
    P = float(F(p) * F(m) ** 2)
    last = [[-2.0 * P / m], [2.0 * P]]
    layers = [([[slope, 1.0]], [0.0, 2.0]), (last, [-2.4 * P])]
    network = packed(layers)
    bound = 0.3 * P
    assert least(layers, 1.0) < F(bound)
    multipliers = np.array([2.04 * P, 0.04 * P, p, 0.0, 0.0])
    with pytest.raises(CertificateError, match="not proven"):
        verify(claimed(network, bound, -1, multipliers), network)


def drawn(rng: np.random.Generator) -> tuple[Layers, float]:
    """A network of one input, each array of a scale of its own, and a radius."""
    sizes = [1, *rng.integers(1, 3, size=int(rng.integers(1, 3))).tolist(), 1]
    layers = []
    for shape in pairwise(sizes):
        power = rng.integers(-340, 340, size=3)
        W = rng.normal(size=shape) * 10.0 ** rng.choice(power[:2], size=shape)
        b = rng.normal(size=shape[1]) * 10.0 ** power[2] * rng.choice([0.0, 1.0])
        keep = rng.choice([0.3, 1.0])
        layers.append((np.where(rng.uniform(size=shape) < keep, W, 1.0).tolist(), b.tolist()))
    return layers, float(10.0 ** rng.choice([0.0, 0.0, -300.0, 300.0]))


def accepted_and_false(rng: np.random.Generator, count: int) -> tuple[int, list[str]]:
    accepted, false = 0, []
    with np.errstate(all="ignore"):
        for _ in range(count):
            layers, radius = drawn(rng)
            if not all(np.isfinite(W).all() and np.isfinite(b).all() for W, b in layers):
                continue
            network, exact = packed(layers), least(layers, radius)
            for bound in bounds_above(exact, layers):
                for kind in (-2, -4):
                    try:
                        verify(claimed(network, bound, kind, radius=radius), network)
                    except CertificateError:
                        continue
                    false.append(f"{kind} {layers} {radius} {bound}")
            below = float(exact) if abs(exact) < F(10) ** 300 else 0.0
            try:
                accepted += bool(verify(claimed(network, below - 1.0, -2, radius=radius), network))
            except CertificateError:
                continue
    return accepted, false


def bounds_above(exact: F, layers: Layers) -> list[float]:
    """Margins that are a little, and much, more than the exact one."""
    if abs(exact) > F(10) ** 300:
        return [1e301] if exact < 0 else []
    nearest, last = float(exact), layers[-1][1][0]
    near = [nearest + size for size in (0.0, 5e-324, 1e-300, 1e-30, 1e-9 * abs(nearest), 1.0)]
    found = [np.nextafter(nearest, np.inf), last, np.nextafter(last, -np.inf), *near]
    return [float(v) for v in found if np.isfinite(v) and F(float(v)) > exact]


def test_what_linear_bounds_prove_at_extreme_scales_holds_exactly():
    accepted, false = accepted_and_false(np.random.default_rng(0), 150)
    assert not false
    assert accepted > 20


def test_an_axis_below_the_normal_numbers_is_widened_by_what_they_lack():
    """In units of the smallest number: 0.4 is rounded to 0, 1.55 to 2, and 1.15 between them to 1.

    A region of 0 and an axis of 1 would lack that row.
    """
    fitted = (
        '{"target": null, "layout": {"columns": [{"name": "c", "categories": null, "dropped": '
        'false}], "scaling": "standardize", "bias": false, "missing": "refuse", "clip": null}, '
        '"fill": [0.0], "means": [0.0], "scales": [1e308]}'
    )
    unit, infinite = 5e-324 * 1e308, np.array([np.inf])
    row, radius = 0.4 * unit, 1.15 * unit
    question = Question(
        "", "l2", np.array([row]), np.array([radius]), -infinite, infinite, (), (), 0, 1,
        np.full(2, np.nan),
    )  # fmt: skip
    region = region_of(question, fitted, 1)
    assert (row + radius) / 1e308 - region.low[0, 0] == 2 * 5e-324
    assert 2 * 5e-324 <= region.axes[0] <= 40 * 5e-324
