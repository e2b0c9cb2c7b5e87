"""Quantized networks: bounds against exact minima, on boxes, balls and raw rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnn.errors import InputError
from qnn.robustness import Limits, Prover, certify, largest_radius
from qnn.robustness.threat import Rows, within
from tests.qnn.robustness.cases import (
    KINDS,
    forms,
    least_margin_on_box,
    prepared,
    quantized,
    row_of,
)

EFFORTS = ("interval", "crown", "dual", "exact")


@pytest.mark.parametrize(("activation", "alphabet", "outputs"), KINDS)
def test_the_box_is_solved_to_its_exact_minimum(activation, alphabet, outputs):
    rng = np.random.default_rng(0)
    for _ in range(4):
        network = quantized(rng, 4, 7, activation, alphabet, outputs)
        prover, x = Prover(network), rng.normal(size=4)
        label = prover.certify(x, 0.0).certificate.question.label
        signed = 2 * label - 1 if outputs == 1 else label
        for radius in (0.1, 0.7):
            truth = least_margin_on_box(network, signed, x - radius, x + radius)
            size = 1.0 + abs(truth)
            bounds = [prover.certify(x, radius, effort=effort) for effort in EFFORTS[:3]]
            for found in bounds:
                assert found.lower_bound <= truth + 1e-9 * size
                assert found.upper_bound >= truth - 1e-9 * size
            assert bounds[0].lower_bound <= bounds[1].lower_bound + 1e-9 * size
            assert bounds[1].lower_bound <= bounds[2].lower_bound + 1e-6 * size
            exact = prover.certify(x, radius, search=Limits(gap=1e-7))
            assert truth - 1e-6 * size <= exact.lower_bound <= truth + 1e-9 * size
            assert exact.upper_bound == pytest.approx(truth, abs=1e-6 * size)
            assert exact.verify(network) == exact.lower_bound


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), d=st.integers(1, 5), radius=st.floats(0.0, 3.0))
def test_no_bound_exceeds_the_enumerated_optimum(seed, d, radius):
    rng = np.random.default_rng(seed)
    activation, alphabet, outputs = KINDS[seed % len(KINDS)]
    network = quantized(rng, d, int(rng.integers(1, 9)), activation, alphabet, outputs)
    x = rng.normal(size=d)
    found = certify(network, x, radius)
    label = found.certificate.question.label
    signed = 2 * label - 1 if outputs == 1 else label
    truth = least_margin_on_box(network, signed, x - radius, x + radius)
    allowance = 1e-9 * (1.0 + abs(truth))
    assert found.lower_bound <= truth + allowance <= found.upper_bound + 2 * allowance
    if abs(truth) > 1e-6:
        assert found.verdict == ("robust" if truth > 0.0 else "vulnerable")
    found.verify(network)
    if found.verdict == "vulnerable":
        assert np.all(np.abs(found.witness - x) <= radius)
        changed = network.decision_function(found.witness[None])[0]
        assert (changed > 0) != (label == 1) if outputs == 1 else changed.argmax() != label


def test_a_radius_of_zero_is_the_margin_of_the_row():
    rng = np.random.default_rng(1)
    for activation, alphabet, outputs in KINDS:
        network = quantized(rng, 6, 9, activation, alphabet, outputs)
        x = rng.normal(size=6)
        for norm in ("linf", "l2"):
            found = certify(network, x, 0.0, norm)
            scores = network.decision_function(x[None]).reshape(-1)
            margin = abs(scores[0]) if outputs == 1 else np.diff(np.sort(scores))[-1]
            assert found.lower_bound == pytest.approx(margin, abs=1e-9)
            assert found.upper_bound == pytest.approx(margin, abs=1e-12)
            assert found.verdict == "robust"


def test_the_ball_against_a_fine_circle_and_against_a_semidefinite_program():
    import cvxpy as cp

    rng = np.random.default_rng(2)
    angles = np.linspace(0.0, 2 * np.pi, 20001)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for activation, alphabet, _ in KINDS[::2]:
        network = quantized(rng, 2, 5, activation, alphabet, 1)
        x, radii = rng.normal(size=2), np.array([0.4, 1.1])
        found = certify(network, x, radii, "l2")
        sign = 1.0 if found.certificate.question.label else -1.0
        disc = np.vstack([x + t * radii * circle for t in np.linspace(0.0, 1.0, 30)])
        sampled = (sign * network.decision_function(disc)).min()
        assert found.lower_bound <= sampled + 1e-9
        ((c, g, A),) = forms(network)
        X = cp.Variable((3, 3), PSD=True)
        q = np.block([[np.array([[c]]), g[None] / 2], [g[:, None] / 2, A]])
        shift = np.block([[np.ones((1, 1)), np.zeros((1, 2))], [x[:, None], np.diag(radii)]])
        objective = cp.trace(sign * shift.T @ q @ shift @ X)
        problem = cp.Problem(cp.Minimize(objective), [X[0, 0] == 1, X[1, 1] + X[2, 2] <= 1])
        problem.solve(solver=cp.CLARABEL)
        size = 1.0 + abs(problem.value)
        assert found.lower_bound == pytest.approx(problem.value, abs=1e-6 * size)
        assert found.upper_bound == pytest.approx(problem.value, abs=1e-6 * size)
        found.verify(network)


def test_the_hard_case_of_the_ball_is_met():
    from qnn.certificates.robustness.forms import BoxForm
    from qnn.robustness.ball import least_on_ball

    # The gradient has no part along the lowest eigenvalue, and the rest does not fill the ball.
    form = BoxForm(0.0, np.array([0.0, 0.5]), np.diag([-2.0, 1.0]), 0.0, np.arange(2))
    s, value, w = least_on_ball(form)
    assert s == pytest.approx(2.0)
    assert np.linalg.norm(w) == pytest.approx(1.0)
    assert value == pytest.approx(float(form.g @ w + 0.5 * w @ form.H @ w))


def test_signs_of_a_form_may_have_multipliers_below_zero():
    from qnn.certificates.robustness.forms import BoxForm
    from qnn.robustness.duals.box_dual import best_diagonal

    # z^2 = 1 makes this form a constant; on the interval its minimum is lower.
    form = BoxForm(0.0, np.zeros(1), np.array([[2.0]]), 0.0, np.arange(1))
    assert best_diagonal(form).value == pytest.approx(0.0, abs=1e-6)
    signed = best_diagonal(form, np.array([True]))
    assert signed.value == pytest.approx(1.0, abs=1e-6)
    assert signed.kappa[0] < 0.0


@pytest.mark.parametrize("scaling", ["standardize", "weighted", "none", "quantile", "thermometer"])
@pytest.mark.parametrize("classes", [("no", "yes"), ("x", "y", "z")])
@pytest.mark.parametrize("activation", ["bilinear", "polynomial"])
def test_raw_rows_of_the_region_never_fall_below_the_bound(scaling, classes, activation):
    rng = np.random.default_rng(3)
    clip = 1.5 if scaling in ("standardize", "weighted", "quantile") else None
    bias = True if len(classes) == 2 else 32
    network, rows = prepared(rng, scaling, classes, clip, activation, bias)
    coded = {name: k for k, name in enumerate(classes)}
    for index in range(4):
        row = row_of(rows, index)
        radius = {"age": 8.0, "dose": 0.9, "size": 0.3}
        limits = {"dose": (0.0, 50.0)}
        found = certify(
            network, row, radius, limits=limits, choices={"site": True, "sex": ["f", "m"]}, swaps=2,
            search=Limits(gap=1e-6),
        )  # fmt: skip
        label = found.certificate.question.label
        n = 3000
        many = {name: np.repeat(np.array([value]), n) for name, value in row.items()}
        for name, reach in radius.items():
            ends = rng.choice([-1.0, 1.0], n)
            moved = np.where(rng.uniform(size=n) < 0.5, ends, rng.uniform(-1, 1, n))
            many[name] = np.asarray(many[name], dtype=float) + reach * moved
        many["dose"] = np.maximum(many["dose"], 0.0)
        many["site"], many["sex"] = rng.choice(["a", "b", "c"], n), rng.choice(["f", "m"], n)
        scores = network.scores(many).reshape(n, -1)
        if len(classes) == 2:
            margins = scores[:, 0] if label == 1 else -scores[:, 0]
        else:
            margins = scores[:, label] - np.delete(scores, label, axis=1).max(axis=1)
        size = 1.0 + abs(found.lower_bound)
        assert found.lower_bound <= margins.min() + 1e-9 * size
        assert found.upper_bound <= margins.min() + 1e-6 * size
        assert found.upper_bound - found.lower_bound <= 1e-4 * size
        found.verify(network)
        if found.verdict == "vulnerable":
            one = {name: np.array([value]) for name, value in found.witness.items()}
            assert coded[network.predict(one)[0]] != label
            assert abs(found.witness["age"] - row["age"]) <= 8.0


def test_thermometer_bits_against_every_combination_of_levels():
    import itertools

    rng = np.random.default_rng(4)
    network, rows = prepared(rng, "thermometer")
    row = row_of(rows, 0)
    radius = {"age": 15.0, "dose": 2.0, "size": 1.0}
    found = certify(network, row, radius, search=Limits(gap=1e-9))
    cuts = dict(zip(("age", "dose", "size"), network.preprocessing.encoder.thresholds, strict=True))
    values = []
    for name, reach in radius.items():
        inside = [t for t in cuts[name] if row[name] - reach < t <= row[name] + reach]
        values.append([row[name] - reach, *inside])
    scores = [
        network.scores({**{k: np.array([v]) for k, v in row.items()},
                        **{k: np.array([v]) for k, v in zip(radius, choice, strict=True)}})[0]
        for choice in itertools.product(*values)
    ]  # fmt: skip
    sign = 1.0 if found.certificate.question.label else -1.0
    truth = min(sign * score for score in scores)
    assert found.lower_bound == pytest.approx(truth, abs=1e-9)
    assert found.upper_bound == pytest.approx(truth, abs=1e-9)


def test_a_number_that_is_predicted_stays_within_its_band():
    from qnn.features.preprocessing import FeatureLayout
    from qnn.networks.quantized import QuantizedNetwork
    from tests.qnn.robustness.cases import table

    rng = np.random.default_rng(5)
    rows = table(rng)
    fitted = FeatureLayout.from_table(rows).fit(rows, 100.0 + 7.0 * rng.normal(size=80))
    bare = quantized(rng, fitted.layout.d, 3, "bilinear", "binary", 1)
    network = QuantizedNetwork(bare.U, bare.V, 0.05 * bare.alpha, preprocessing=fitted)
    row = row_of(rows, 3)
    centre = float(network.predict({k: np.array([v]) for k, v in row.items()})[0])
    wide = certify(network, row, 0.2, label=(centre - 50.0, centre + 50.0))
    assert wide.verdict == "robust"
    narrow = certify(network, row, 0.2, label=(centre - 1e-3, centre + 1e-3))
    assert narrow.verdict == "vulnerable"
    one = {name: np.array([value]) for name, value in narrow.witness.items()}
    assert abs(network.predict(one)[0] - centre) > 1e-3
    with pytest.raises(InputError, match="predicts a number: give label="):
        certify(network, row, 0.2)
    for label in (("a", "b"), (1.0, 0.0), (np.nan, 1.0)):
        with pytest.raises(InputError, match="label must be"):
            certify(network, row, 0.2, label=label)


def test_monotone_in_the_radius_and_radii_meet():
    rng = np.random.default_rng(6)
    network = quantized(rng, 5, 9, "bilinear", "ternary", 1)
    x = rng.normal(size=5)
    for norm in ("linf", "l2"):
        radius = largest_radius(network, x, norm=norm, tol=1e-5)
        assert radius.certified < radius.attacked <= radius.certified * (1.0 + 2e-5)
        assert radius.proof.verdict == "robust"
        assert radius.attack.verdict == "vulnerable"
        radius.proof.verify(network)
        inner = certify(network, x, 0.5 * radius.certified, norm, search=Limits(gap=1e-6))
        outer = certify(network, x, radius.certified, norm, search=Limits(gap=1e-6))
        assert inner.lower_bound >= outer.lower_bound


@pytest.mark.parametrize("scaling", ["quantile", "thermometer"])
def test_a_ball_through_an_encoder_is_bounded_by_its_box(scaling):
    """Below every sampled row of the ball, with witnesses in it, and not better than its box."""
    rng = np.random.default_rng(10)
    verdicts = set()
    for index in range(12):
        network, rows = prepared(rng, scaling)
        row = row_of(rows, index)
        radius = np.array([10.0, 4.0, 1.0]) * rng.choice([0.02, 0.2, 1.0])
        found = certify(network, row, radius, "l2", search=Limits(nodes=200))
        verdicts.add(found.verdict)
        assert found.verify(network) == found.lower_bound <= found.upper_bound
        question, read = found.certificate.question, Rows(network)
        delta = rng.normal(size=(2000, 3))
        delta /= np.linalg.norm(delta, axis=1, keepdims=True)
        numbers = question.numbers + radius * delta * rng.random((2000, 1)) ** (1.0 / 3.0)
        scores = read.scores(numbers, [question.categories] * 2000)[:, 0]
        margins = scores if question.label else -scores
        assert found.lower_bound <= margins.min() + 1e-12
        if found.verdict == "vulnerable":
            changed = np.array([found.witness[name] for name in read.names], dtype=float)
            assert within(question, changed)
        box = certify(network, row, radius, search=Limits(nodes=200))
        # One region, so a ball is proven where its box is.
        assert found.verdict == "robust" or box.verdict != "robust"
    assert "robust" in verdicts
    assert verdicts - {"robust"}


def test_many_radii_of_balls_at_once_are_those_of_one():
    from qnn.certificates.robustness.networks import read_network
    from qnn.certificates.robustness.quadratic import margin_forms
    from qnn.robustness.ball import Radii

    rng = np.random.default_rng(7)
    network = quantized(rng, 6, 12, "polynomial", "binary", 1)
    read = read_network(network.to_bytes())
    X = rng.normal(size=(20, 6))
    f = network.decision_function(X)
    (form,) = margin_forms(read.arrays, read.divisor, np.ones((1, 1)), np.zeros(1))
    found = Radii(form, np.ones(6)).of(X)
    assert np.all((found == 0.0) == (f <= 0.0))
    for x, radius in zip(X[f > 0], found[f > 0], strict=True):
        one = largest_radius(network, x, norm="l2", tol=1e-6)
        assert radius == pytest.approx(one.certified, rel=1e-5)


def test_what_does_not_fit_is_refused_in_one_line():
    rng = np.random.default_rng(8)
    network, rows = prepared(rng, "quantile")
    row = row_of(rows, 0)
    for arguments, words in (
        ({"radius": -1.0}, "radius must not be negative"),
        ({"radius": {"weight": 1.0}}, "no numeric column 'weight'"),
        ({"radius": [1.0, 2.0]}, "must be a number, 3 numbers"),
        ({"radius": 1.0, "norm": "l1"}, "norm must be one of"),
        ({"radius": 1.0, "norm": "l2", "limits": (0.0, 99.0)}, "go with the norm linf"),
        ({"radius": 1.0, "effort": "most"}, "effort must be one of"),
        ({"radius": 1.0, "label": "maybe"}, "none of the network's classes"),
        ({"radius": 1.0, "unit": "scale"}, "needs a network with standardized columns"),
        ({"radius": 1.0, "limits": {"age": (90.0, 99.0)}}, "outside its limits"),
        ({"radius": 1.0, "choices": {"site": ["q"]}}, "no category 'q'"),
        ({"radius": 1.0, "choices": {"age": True}}, "no categorical column 'age'"),
        ({"radius": 1.0, "swaps": -1}, "swaps must be a whole number"),
        ({"radius": {"age": "x"}}, "must be a number, 3 numbers"),
        ({"radius": {"age": None}}, "must be a number, 3 numbers"),
        ({"radius": 1.0, "limits": 5}, "limits must be pairs"),
        ({"radius": 1.0, "limits": (0, 1, 2)}, "limits must be pairs"),
        ({"radius": 1.0, "limits": {"age": 5}}, "limits must be pairs"),
        ({"radius": 1.0, "limits": {"age": ("a", "b")}}, "limits must be pairs"),
        ({"radius": 1.0, "choices": ["site"]}, "choices must be categories, or True, by column"),
        ({"radius": 1.0, "choices": {"site": None}}, "choices of 'site' must be several"),
        ({"radius": 1.0, "choices": {"site": "p"}}, "choices of 'site' must be several"),
        ({"radius": 1.0, "label": np.array([1, 0])}, "label must be one, of this row"),
    ):
        radius = arguments.pop("radius")
        with pytest.raises(InputError, match=words) as caught:
            certify(network, row, radius, **arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="network must be"):
        certify("a.npz", row, 1.0)
    for arguments, words in (
        ({"radius": "x"}, "radius must be"), ({"radius": {"age": "x"}}, "radius must be"),
        ({"tol": "x"}, "tol must be between 0 and 1"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words) as caught:
            largest_radius(network, row, **arguments)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nodes", -1), ("nodes", 1.5), ("nodes", True), ("gap", -1.0), ("gap", np.nan),
        ("gap", "x"), ("seconds", -1.0), ("seconds", np.nan), ("solver", "x"),
    ],
)  # fmt: skip
def test_limits_of_a_search_are_numbers_and_names(name, value):
    with pytest.raises(InputError, match=f"{name} must be"):
        Limits(**{name: value})
