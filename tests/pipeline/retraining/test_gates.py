"""The paired tests against sums by hand, and drift against what chance alone gives."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import qnn
from pipeline.configuration.retraining import RetrainConfig, RobustnessGate
from pipeline.retraining.drift import column_drift, measure_drift, stability_index
from pipeline.retraining.gates import (
    Comparison,
    Gate,
    compare_errors,
    compare_labels,
    metric_gate,
    robustness_gate,
    size_gate,
)
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.robustness import certify
from tests.pipeline.retraining.arriving import config


def mcnemar(lost: int, won: int) -> float:
    """P(B ≥ lost), B ~ Binomial(lost + won, ½), term by term."""
    m = lost + won
    return sum(math.comb(m, k) for k in range(lost, m + 1)) / 2**m


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(1, 40))
def test_mcnemar_is_the_binomial_tail(lost: int, won: int, both: int, neither: int) -> None:
    champion = [True] * (lost + both) + [False] * (won + neither)
    challenger = [False] * lost + [True] * both + [True] * won + [False] * neither
    found = compare_labels(champion, challenger, 0.0, 0.05)
    assert found.p_value == pytest.approx(mcnemar(lost, won), rel=1e-9)
    assert found.worse == (lost > won and mcnemar(lost, won) <= 0.05)
    n = lost + won + both + neither
    assert found.champion - found.challenger == pytest.approx((lost - won) / n, abs=1e-12)


@pytest.mark.parametrize(
    ("lost", "tolerance", "significance", "worse"),
    [
        (4, 0.0, 0.05, False),  # 4 of 4 lost: p = 1/16
        (5, 0.0, 0.05, True),  # p = 1/32
        (5, 0.05, 0.05, False),  # exactly the tolerance
        (5, 0.049, 0.05, True),
        (1, 0.0, 1.0, True),  # the tolerance alone decides
        (0, 0.0, 1.0, False),
    ],
)
def test_where_a_loss_of_accuracy_begins(
    lost: int, tolerance: float, significance: float, worse: bool
) -> None:
    champion = np.ones(100, dtype=bool)
    challenger = np.arange(100) >= lost
    assert compare_labels(champion, challenger, tolerance, significance).worse == worse


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(3, 60), st.floats(0, 0.5))
def test_the_t_test_is_students(seed: int, n: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    champion, challenger = rng.exponential(size=(2, n))
    over = challenger - (1 + tolerance) ** 2 * champion
    t = over.mean() / (over.std(ddof=1) / math.sqrt(n))
    found = compare_errors(champion, challenger, tolerance, 0.05)
    assert found.p_value == pytest.approx(float(stats.t.sf(t, n - 1)), rel=1e-9)
    assert found.worse == (found.p_value <= 0.05)
    assert found.challenger == pytest.approx(math.sqrt(challenger.mean()))


def test_equal_networks_pass_and_equally_worse_rows_do_not() -> None:
    errors = np.full(5, 2.0)
    assert not compare_errors(errors, errors, 0.0, 1.0 - 1e-9).worse
    assert compare_errors(errors, 1.3 * errors, 0.1, 0.05).worse
    assert not compare_errors(errors, 1.2 * errors, 0.1, 0.05).worse


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
@pytest.mark.parametrize("count", [1, 30])
def test_an_error_that_is_not_finite_is_worse_than_any(bad: float, count: int) -> None:
    numbers = np.arange(30.0)
    spoilt = numbers.copy()
    spoilt[:count] = bad
    for champion in (numbers + 1.0, spoilt):
        gate, found = metric_gate(numbers, champion, spoilt, "regression", RetrainConfig())
        assert not gate.passed
        assert gate.text.startswith("RMSE inf against the champion's ")
        assert (found.challenger, found.p_value) == (math.inf, 0.0)
    gate, found = metric_gate(numbers, spoilt, numbers + 1.0, "regression", RetrainConfig())
    assert gate.passed
    assert (found.champion, found.challenger) == (math.inf, 1.0)


def test_the_gates_lines_say_what_was_compared() -> None:
    target = np.array(["a", "b"] * 20)
    other = np.where(target == "a", "b", "a")
    gate, found = metric_gate(target, target, other, "classification", RetrainConfig())
    assert not gate.passed
    assert gate.text == (
        "accuracy 0.0000 against the champion's 1.0000 (tolerance 0.01; exact McNemar: 40 lost, "
        "0 won, p = 9.09e-13, significant up to 0.05), on 40 rows"
    )
    assert (found.metric, found.worse) == ("accuracy", True)
    numbers = np.arange(30.0)
    gate, found = metric_gate(numbers, numbers + 1, numbers, "regression", RetrainConfig())
    assert gate.passed
    assert (found.metric, found.champion, found.challenger) == ("rmse", 1.0, 0.0)


def test_the_size_budget() -> None:
    assert size_gate(10**9, RetrainConfig()).passed
    budget = RetrainConfig(max_bytes=1000)
    assert size_gate(1000, budget).passed
    gate = size_gate(1001, budget)
    assert (gate.passed, gate.text) == (False, "1,001 bytes of 1,000")


def sure_network() -> tuple[qnn.QuantizedNetwork, dict[str, np.ndarray], np.ndarray]:
    """A trained network with numbers and a category, rows, and the labels that it gives them."""
    rng = np.random.default_rng(0)
    rows = {"a": rng.normal(size=40), "b": rng.normal(size=40),
            "c": np.array(["x", "y"] * 20, dtype=object)}  # fmt: skip
    label = np.where(rows["a"] + 0.3 * rows["b"] > 0.0, "up", "down").astype(object)
    prepared = FeatureLayout.from_table(rows).fit(rows, label, ("down", "up"))
    problem = qnn.Problem(prepared.transform(rows), prepared.encode_target(label), beta=0.5)
    own = qnn.train(problem, seed=0).network
    network = qnn.QuantizedNetwork(own.U, own.V, own.alpha, preprocessing=prepared)
    return network, rows, np.asarray(network.predict(rows), dtype=object)


def gate_of(**keys: Any) -> RobustnessGate:
    return RobustnessGate.model_validate_json(json.dumps({"certified_accuracy": 0.5, **keys}))


def test_the_robustness_gate_counts_proven_rows() -> None:
    network, rows, target = sure_network()
    target[0] = "up" if target[0] == "down" else "down"
    radius = {"a": 0.2, "b": 0.1}
    gate, share = robustness_gate(network, rows, target, gate_of(radius=radius, flip=["c"]))
    proven = 0
    for k, label in enumerate(target):
        x = {name: values[k] for name, values in rows.items()}
        proven += certify(network, x, radius, label=label, choices={"c": True}).verdict == "robust"
    assert 0 < proven < 39
    assert share == proven / 40
    assert gate.passed == (share >= 0.5)
    assert gate.text.startswith(
        f"certified accuracy {share:.4f} whatever happens within ±0.2 of a, ±0.1 of b, any c, at "
        "least 0.5 is asked; 0.9750 answered correctly"
    )
    exactly = gate_of(radius=radius, flip=["c"], certified_accuracy=share)
    assert robustness_gate(network, rows, target, exactly)[0].passed
    above = gate_of(radius=radius, flip=["c"], certified_accuracy=math.nextafter(share, 2.0))
    assert not robustness_gate(network, rows, target, above)[0].passed


def test_what_the_robustness_gate_cannot_ask_is_not_proven() -> None:
    network, rows, target = sure_network()
    most = float(np.sort(rows["a"])[-2])
    limited = gate_of(radius=0.0, limits={"a": [-99.0, most]})
    gate, share = robustness_gate(network, rows, target, limited)
    assert share == 39 / 40
    assert gate.text.endswith("; not asked: the row's a lies outside its limits")
    for keys in ({"radius": {"gone": 1.0}}, {"radius": 1.0, "flip": ["a"]}):
        gate, share = robustness_gate(network, rows, target, gate_of(**keys, certified_accuracy=0))
        assert (gate.passed, share) == (False, 0.0)
        assert gate.text.startswith("it cannot be asked: ")


@pytest.mark.parametrize(
    ("keys", "changes", "said"),
    [
        ({"radius": -1.0}, {}, "robustness.radius: must be at least 0"),
        ({"radius": {}}, {}, "robustness.radius: must not be empty"),
        ({"radius": 1.0, "certified_accuracy": 1.5}, {}, "certified_accuracy: must be at most 1"),
        ({"radius": 1.0, "limits": [1.0, 0.0]}, {}, "the lowest first"),
        ({}, {}, "robustness.radius: is required"),
        ({"radius": 1.0}, {"task": "regression", "columns": {"target": "y"}}, "asks about labels"),
    ],
)
def test_a_robustness_gate_that_says_nothing_is_a_line(
    keys: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as error:
        config("data", retrain={"robustness": {"certified_accuracy": 0.5, **keys}}, **changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_psi_by_hand() -> None:
    codes = np.array([0] * 30 + [1] * 10 + [0] * 10 + [1] * 30)
    p, q = np.array([30.5, 10.5]) / 41, np.array([10.5, 30.5]) / 41
    psi, expected = stability_index(codes, np.arange(40), np.arange(40, 80))
    assert psi == pytest.approx(float(np.sum((q - p) * np.log(q / p))))
    assert expected == pytest.approx(2 / 40)


def test_without_drift_psi_has_the_mean_that_is_taken_off() -> None:
    found = []
    for seed in range(200):
        values = np.random.default_rng(seed).standard_normal(300)
        found.append(column_drift("x", values, np.arange(200), np.arange(200, 300)))
    mean = np.mean([one.psi for one in found])
    assert mean == pytest.approx(found[0].expected, rel=0.15)
    assert abs(np.mean([one.excess for one in found])) < 0.03
    # p-values are uniform: the test says what it claims.
    assert 0.4 < np.mean([one.p_value for one in found if one.p_value is not None]) < 0.6


def test_what_drifts_is_named_first() -> None:
    rng = np.random.default_rng(0)
    old, new = np.arange(300), np.arange(300, 500)
    missing, shifted = rng.standard_normal((2, 500))
    missing[new[:70]] = np.nan
    shifted[new] += 3.0
    words = np.array(["u", "v", None, "u", "v"] * 100, dtype=object)
    columns = {"words": words, "missing": missing, "shifted": shifted}
    drift = measure_drift(columns, words, old, new, 0.25)
    assert [one.name for one in drift.features] == ["shifted", "missing", "words"]
    assert drift.over == ("shifted", "missing")
    assert drift.target.psi < 0.01
    assert drift.features[-1].ks is None
    assert drift.features[0].p_value is not None
    assert drift.features[0].p_value < 1e-20
    assert drift.text.startswith("largest PSI ")
    assert drift.text.endswith("beyond 0.25: shifted, missing")


def test_errors_of_several_targets_are_in_units_of_their_scales() -> None:
    target = np.column_stack([np.arange(30.0), 1000.0 * np.arange(30.0)])
    scale = (1.0, 100.0)

    def judged(error: float) -> tuple[Gate, Comparison]:
        champion, challenger = target.copy(), target.copy()
        champion[:, 0] += 1.0
        challenger[:, 1] += 100.0 * error
        kind = ("regression", RetrainConfig(), scale)
        return metric_gate(target, champion, challenger, *kind)

    gate, found = judged(1.0)
    assert gate.passed
    assert (found.champion, found.challenger) == (math.sqrt(0.5), math.sqrt(0.5))
    assert judged(1.009)[0].passed
    assert not judged(1.5)[0].passed


def test_the_most_drifted_of_several_targets_speaks_for_them() -> None:
    rng = np.random.default_rng(0)
    old, new = np.arange(300), np.arange(300, 500)
    targets = rng.standard_normal((500, 3))
    targets[new, 1] += 3.0
    columns = {"feature": rng.standard_normal(500)}
    drift = measure_drift(columns, targets, old, new, 0.25)
    assert drift.over == ("target",)
    alone = measure_drift(columns, targets[:, 1], old, new, 0.25)
    assert drift.target == alone.target
