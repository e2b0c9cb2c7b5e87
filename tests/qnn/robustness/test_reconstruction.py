"""Reconstruction loss of a decoder: bounds against enumerated optima and another solver."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from qnn.certificates.reconstruction.checker import box_region
from qnn.certificates.reconstruction.distance import distance_system, linear_distance
from qnn.certificates.robustness.relu import lagrangian, neuron_bounds
from qnn.errors import InputError
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Limits, certify_reconstruction
from qnn.robustness.duals.interior_point import solve
from tests.qnn.robustness.cases import layered, quantized

Array = np.ndarray
EFFORTS = ("interval", "crown", "dual", "exact")


def losses(decoder: LayeredNetwork, Z: Array, target: Array) -> Array:
    return ((decoder.scores(Z) - target) ** 2).sum(axis=1)


def most_by_vertices(decoder: LayeredNetwork, low: Array, high: Array, target: Array) -> float:
    """The largest loss of a decoder with one hidden layer, exactly.

    Within an activation pattern the loss is convex, so it is largest where d of the planes
    ``y_i = 0`` and of the box's faces meet.
    """
    (W, _), (b, _) = decoder.weights, decoder.biases
    d = len(low)
    normals = np.concatenate([W.T, np.eye(d), np.eye(d)])
    offsets = np.concatenate([-b, low, high])
    points = [np.where(corner, high, low) for corner in itertools.product((0, 1), repeat=d)]
    for chosen in itertools.combinations(range(len(offsets)), d):
        at = list(chosen)
        if abs(np.linalg.det(normals[at])) < 1e-12:
            continue
        point = np.linalg.solve(normals[at], offsets[at])
        if np.all(point >= low - 1e-12) and np.all(point <= high + 1e-12):
            points.append(np.clip(point, low, high))
    return float(losses(decoder, np.array(points), target).max())


def most_by_breaks(decoder: LayeredNetwork, low: Array, high: Array, target: Array) -> float:
    """The largest loss of a decoder of one latent, of any depth: it is at a break, or an end."""
    at = np.array([low[0], high[0]])
    for depth in range(len(decoder.weights) - 1):
        X = at[:, None]
        for W, b in zip(decoder.weights[:depth], decoder.biases[:depth], strict=True):
            X = np.maximum(X @ W + b, 0.0)
        Y = X @ decoder.weights[depth] + decoder.biases[depth]
        found = [at]
        for k in range(len(at) - 1):
            crosses = Y[k] * Y[k + 1] < 0.0
            share = Y[k, crosses] / (Y[k, crosses] - Y[k + 1, crosses])
            found.append(at[k] + share * (at[k + 1] - at[k]))
        at = np.unique(np.concatenate(found))
    return float(losses(decoder, at[:, None], target).max())


def fractions(values: Array) -> list[Fraction]:
    return [Fraction(value) for value in values.tolist()]


def exact_loss(decoder: LayeredNetwork, z: list[Fraction], target: Array) -> Fraction:
    x = z
    for index, (W, b) in enumerate(zip(decoder.weights, decoder.biases, strict=True)):
        x = [
            sum((Fraction(w) * v for w, v in zip(column, x, strict=True)), Fraction(constant))
            for column, constant in zip(W.T.tolist(), b.tolist(), strict=True)
        ]
        if index < len(decoder.weights) - 1:
            x = [max(v, Fraction(0)) for v in x]
    return sum(
        ((v - Fraction(t)) ** 2 for v, t in zip(x, target.tolist(), strict=True)), Fraction()
    )


def drawn(rng: np.random.Generator, deep: bool) -> tuple[LayeredNetwork, Array, Array, Array]:
    """A tiny decoder, latents, radii (one of them 0 at times) and a target."""
    d = 1 if deep else int(rng.integers(1, 4))
    hidden = rng.integers(1, 6, size=int(rng.integers(2, 4)) if deep else 1)
    decoder = layered(rng, [d, *(int(h) for h in hidden), int(rng.integers(1, 6))])
    radii = 10.0 ** rng.uniform(-2, 0.5, size=d)
    if d > 1 and rng.uniform() < 0.2:
        radii[0] = 0.0
    return decoder, rng.normal(size=d), radii, rng.normal(size=decoder.outputs)


def check_against_truth(rng: np.random.Generator, deep: bool, search: Limits) -> None:
    decoder, z, radii, target = drawn(rng, deep)
    truth = (most_by_breaks if deep else most_by_vertices)(decoder, z - radii, z + radii, target)
    allowance = 1e-9 * (1.0 + truth)
    bounds = []
    for effort in EFFORTS:
        found = certify_reconstruction(decoder, z, target, radii, effort=effort, search=search)
        assert found.upper_bound >= truth - allowance
        assert found.lower_bound <= truth + allowance
        assert np.all(np.abs(found.witness - z) <= radii)
        assert found.lower_bound == losses(decoder, found.witness[None], target)[0]
        assert found.verify(decoder) == found.upper_bound
        bounds.append(found.upper_bound)
    for worse, better in itertools.pairwise(bounds):
        assert better <= worse + 1e-6 * (1.0 + truth)
    assert bounds[-1] <= truth * (1.0 + 1e-3) + 1e-7
    for threshold in (truth * 0.99, truth * 1.01):
        decided = certify_reconstruction(decoder, z, target, radii, threshold, search=search)
        assert decided.verdict != ("robust" if threshold < truth else "vulnerable")


@pytest.mark.parametrize("deep", [False, True])
def test_no_bound_is_below_the_enumerated_optimum(deep):
    rng = np.random.default_rng(7 + deep)
    for _ in range(30):
        check_against_truth(rng, deep, Limits())


@pytest.mark.slow
def test_two_thousand_decoders_and_no_bound_is_below_the_enumerated_optimum():
    rng = np.random.default_rng(8)
    for index in range(2000):
        deep = index % 2 == 1
        decoder, z, radii, target = drawn(rng, deep)
        truth = (most_by_breaks if deep else most_by_vertices)(
            decoder, z - radii, z + radii, target
        )
        found = certify_reconstruction(decoder, z, target, radii, effort="dual")
        assert found.upper_bound >= truth - 1e-9 * (1.0 + truth)
        assert found.lower_bound <= truth + 1e-9 * (1.0 + truth)
        found.verify(decoder)


@pytest.mark.parametrize("seed", range(4))
def test_the_dual_is_the_optimum_of_the_moment_relaxation(seed):
    import cvxpy as cp

    rng = np.random.default_rng(seed)
    decoder = layered(rng, [3, 5, 5, 4])
    layers = list(zip(decoder.weights, decoder.biases, strict=True))
    z, target = rng.normal(size=3), rng.normal(size=4)
    box = z - 0.5, z + 0.5
    bounds = neuron_bounds(layers[:-1], box)
    system = distance_system(layers, bounds, box, target)
    n, h = len(system.m), len(system.y0)
    assert h > 0
    X = cp.Variable((n + 1, n + 1), PSD=True)
    constraints = [X[0, 0] == 1, cp.diag(X)[1:] <= 1]
    for k, j in enumerate(range(n - h, n)):
        x, y = np.zeros(n + 1), np.concatenate([[system.y0[k]], system.Y[:, k]])
        x[0], x[j + 1] = system.m[j], system.r[j]
        constraints += [x @ X @ (y - x) == 0, X[0] @ x >= 0, X[0] @ (x - y) >= 0]
    margin = system.c + X[0, 1:] @ system.g + 0.5 * cp.trace(system.H @ X[1:, 1:])
    problem = cp.Problem(cp.Minimize(margin), constraints)
    problem.solve(solver=cp.CLARABEL)
    solved = solve(system, tol=1e-7)
    assert solved.value == pytest.approx(problem.value, abs=1e-5)
    assert solved.value <= problem.value + 1e-6
    form, kappa = lagrangian(system, solved.multipliers)
    P = form.H + np.diag(kappa)
    bound = form.c - 0.5 * kappa.sum() - 0.5 * form.g @ np.linalg.solve(P, form.g)
    assert bound == pytest.approx(solved.value, abs=1e-7)
    found = certify_reconstruction(decoder, z, target, 0.5, effort="dual", search=Limits(gap=1e-6))
    best = min(-problem.value, linear_distance(layers, bounds, box, target)[0])
    assert -1e-6 <= found.upper_bound - best <= 1e-4


def test_the_system_is_the_loss_of_every_latent_in_the_box():
    """Its form, decided neurons substituted, at many points and their neurons' z."""
    rng = np.random.default_rng(3)
    decoder = layered(rng, [2, 8, 8, 6])
    layers = list(zip(decoder.weights, decoder.biases, strict=True))
    z, target = rng.normal(size=2), rng.normal(size=6)
    box = z - 0.3, z + 0.3
    bounds = neuron_bounds(layers[:-1], box)
    system = distance_system(layers, bounds, box, target)
    for point in rng.uniform(*box, size=(50, 2)):
        x, neurons = point, []
        for (W, b), (lo, u) in zip(layers[:-1], bounds, strict=True):
            x = np.maximum(x @ W + b, 0.0)
            neurons.append(x[(lo < 0.0) & (u > 0.0)])
        at = (np.concatenate([point, *neurons]) - system.m) / system.r
        assert np.all(np.abs(at) <= 1.0 + 1e-12)
        value = system.c + system.g @ at + 0.5 * at @ system.H @ at
        assert -value == pytest.approx(losses(decoder, point[None], target)[0], rel=1e-12)
    assert 0.0 < system.margin_error < 1e-10


@pytest.mark.parametrize("scale", [1.0, 1e8, 1e-8])
def test_the_systems_error_covers_what_its_coefficients_are_off(scale):
    """In rational arithmetic, where no neuron is undecided: z is the inputs' alone."""
    rng = np.random.default_rng(12)
    bare = layered(rng, [2, 4, 3])
    decoder = LayeredNetwork(bare.weights, (bare.biases[0] + 20.0, bare.biases[1]))
    layers = list(zip(decoder.weights, decoder.biases, strict=True))
    z, target = rng.normal(size=2), scale * rng.normal(size=3)
    box = z - 0.1, z + 0.1
    system = distance_system(layers, neuron_bounds(layers[:-1], box), box, target)
    assert not len(system.y0)
    for _ in range(30):
        at = [Fraction(float(v)) for v in rng.uniform(-1, 1, 2)]
        x = [Fraction(m) + Fraction(r) * v
             for m, r, v in zip(system.m.tolist(), system.r.tolist(), at, strict=True)]  # fmt: skip
        form = Fraction(system.c) + sum(Fraction(g) * v for g, v in zip(system.g, at, strict=True))
        for row, v in zip(system.H.tolist(), at, strict=True):
            form += v * sum(Fraction(entry) * w for entry, w in zip(row, at, strict=True)) / 2
        off = abs(form + exact_loss(decoder, x, target))
        assert off <= Fraction(system.margin_error)
    assert system.margin_error <= 1e-11 * (1.0 + abs(system.c))


def test_intervals_are_their_formula():
    decoder = layered(np.random.default_rng(4), [2, 5, 3])
    target = np.random.default_rng(5).normal(size=3)
    (W, V), (b, c) = decoder.weights, decoder.biases
    y, wide = b + np.ones(2) @ W, 0.4 * abs(W).sum(axis=0)
    low, high = np.maximum(y - wide, 0.0), np.maximum(y + wide, 0.0)
    m = (low + high) / 2 @ V + c - target
    r = (high - low) / 2 @ abs(V)
    found = certify_reconstruction(decoder, np.ones(2), target, 0.4, effort="interval")
    assert found.upper_bound == pytest.approx(float(((abs(m) + r) ** 2).sum()), rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e100, 1e-100, 1e-160, 1e-300, 5e-324])
def test_no_bound_is_below_the_exact_loss_at_any_scale(scale):
    """Of corners and middles, in rational arithmetic, also where squares are too small."""
    rng = np.random.default_rng(6)
    for sizes in ([2, 3], [2, 4, 3], [1, 3, 3, 2]):
        bare = layered(rng, sizes)
        for weights, radius in ((1.0, 0.0), (1.0, 0.1), (scale, 0.1), (scale, 0.0)):
            last = bare.weights[-1] * weights
            decoder = LayeredNetwork(
                (*bare.weights[:-1], last), (*bare.biases[:-1], bare.biases[-1] * weights)
            )
            z, target = rng.normal(size=sizes[0]), rng.normal(size=sizes[-1]) * weights
            for effort in EFFORTS:
                found = certify_reconstruction(
                    decoder, z, target, radius, effort=effort, search=Limits(nodes=5)
                )
                assert Fraction(found.upper_bound) >= exact_loss(decoder, fractions(z), target)
                assert Fraction(found.upper_bound) >= exact_loss(
                    decoder, fractions(found.witness), target
                )
                found.verify(decoder)


def test_a_radius_of_zero_is_the_loss_and_one_latent_may_stand_still():
    rng = np.random.default_rng(9)
    decoder = layered(rng, [2, 6, 4])
    z, target = rng.normal(size=2), rng.normal(size=4)
    for effort in EFFORTS:
        found = certify_reconstruction(decoder, z, target, 0.0, effort=effort)
        assert found.upper_bound == pytest.approx(losses(decoder, z[None], target)[0], rel=1e-9)
    found = certify_reconstruction(decoder, z, target, [0.0, 0.5])
    assert found.witness[0] == z[0]
    assert found.upper_bound <= found.lower_bound * (1.0 + 1e-3) + 1e-9


def test_limits_leave_the_verdict_open_and_the_proof_valid():
    rng = np.random.default_rng(10)
    decoder = layered(rng, [6, 30, 8])
    z, target = rng.normal(size=6), rng.normal(size=8)
    found = certify_reconstruction(decoder, z, target, 1.0, search=Limits(nodes=3))
    tight = certify_reconstruction(decoder, z, target, 1.0, search=Limits(nodes=300))
    assert found.nodes <= 4
    assert found.lower_bound < tight.upper_bound < found.upper_bound
    threshold = 0.5 * (tight.lower_bound + found.upper_bound)
    short = certify_reconstruction(decoder, z, target, 1.0, threshold, search=Limits(nodes=1))
    assert short.verdict == "open"
    short.verify(decoder)
    at_once = certify_reconstruction(decoder, z, target, 1.0, search=Limits(seconds=0.0))
    assert at_once.certificate.verify(decoder) >= tight.lower_bound


def test_what_does_not_fit_is_refused_in_one_line():
    rng = np.random.default_rng(11)
    decoder, z, target = layered(rng, [2, 4, 3]), np.zeros(2), np.zeros(3)
    own = quantized(rng, 2, 3, "bilinear", "binary", 1)
    shares = LayeredNetwork(decoder.weights, decoder.biases, "Softmax")
    cases = [
        ((own, z, target, 0.1), {}, "ReLU layers"),
        ((decoder, np.zeros(3), target, 0.1), {}, "2 finite numbers"),
        ((decoder, [np.nan, 0.0], target, 0.1), {}, "2 finite numbers"),
        ((decoder, z, np.zeros(2), 0.1), {}, "target must be 3 finite numbers"),
        ((decoder, z, np.full(3, np.inf), 0.1), {}, "target must be 3 finite numbers"),
        ((decoder, z, np.full(3, 1e300), 0.1), {}, "overflows"),
        ((decoder, z, target, -0.1), {}, "radius must not be negative"),
        ((decoder, z, target, np.inf), {}, "not finite"),
        ((decoder, z, target, [0.1] * 3), {}, "radius must be a number, 2 numbers"),
        ((decoder, z, target, 0.1, -1.0), {}, "threshold must be a number, 0 or more"),
        ((decoder, z, target, 0.1, np.nan), {}, "threshold must be a number, 0 or more"),
        ((decoder, z, target, 0.1), {"effort": "best"}, "effort must be one of"),
        ((shares, z, target, 0.1), {}, "decoder ends with a Softmax, which was left out"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            certify_reconstruction(*arguments, **options)
        assert "\n" not in str(caught.value)


def test_a_box_that_a_decoder_does_not_read_is_refused():
    from qnn.errors import CertificateError

    for latents, radii in ((np.zeros(3), np.zeros(3)), (np.zeros(2), np.full(2, np.nan))):
        with pytest.raises(CertificateError):
            box_region(latents, radii, 2)
