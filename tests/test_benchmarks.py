"""What accuracy is measured beside has as many bytes as it says, and Brier scores are those."""

import copy
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from tests.benchmarks import nested_peers, probabilities
from tests.benchmarks.nested_peers import Part, Result, rounded, small_boosting, small_logistic
from tests.benchmarks.probabilities import brier, scores

NUMBERS = ["tiny", "serial", "huge"]


def part(classes: int, n: int, seed: int) -> Part:
    """Numbers of far scales, one of them near values that 15 bits do not tell apart, and words."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 3))
    table = pd.DataFrame(
        {
            "tiny": 1e-9 * (hidden[:, 0] + 30.0),
            "serial": np.rint(40_000.0 + 8.0 * hidden[:, 1]),
            "huge": 1e12 * hidden[:, 2],
            "word": rng.choice(["no", "perhaps", "yes"], n),
        }
    )
    score = hidden.sum(axis=1) + (table["word"] == "yes") + rng.normal(scale=0.5, size=n)
    edges = [-0.7, 1.6][: classes - 1]
    return table, np.array(["low", "middle", "top"])[np.digitize(score, edges)]


def expanded(table: pd.DataFrame) -> np.ndarray:
    """Raw columns as every peer sees them: numbers, and a 0 or 1 a word."""
    words = [(table["word"] == word).to_numpy(float) for word in ("no", "perhaps", "yes")]
    return np.column_stack([table[NUMBERS].to_numpy(), *words])


def short(value: float) -> float:
    part, exponent = math.frexp(value)
    return math.ldexp(round(part * 2**15), exponent - 15)


def bits(value: float) -> int:
    """Of the whole number that times a power of two is the value."""
    whole = abs(value.as_integer_ratio()[0])
    return (whole // (whole & -whole)).bit_length() if whole else 0


def run_arm(
    monkeypatch: pytest.MonkeyPatch, arm: Any, classes: int, budget: int
) -> tuple[Result, Any, Any, Part, Part]:
    """What the arm says, its estimator before and after rounding, and the parts."""
    train, test = part(classes, 150, 0), part(classes, 300, 1)
    fitted, better = [], nested_peers._better

    def noted(*args: Any) -> Any:
        fitted.append(better(*args))
        fitted.insert(0, copy.deepcopy(fitted[-1]))
        return fitted[-1]

    monkeypatch.setattr(nested_peers, "_better", noted)
    result = arm(train, test, 0, budget)
    before, after = fitted
    return result, before, after, train, test


def decided(found: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Labels from scores (n, outputs)."""
    best = found[:, 0] > 0 if found.shape[1] == 1 else found.argmax(axis=1)
    return classes[best.astype(int)]


def test_rounding_keeps_15_bits_and_the_sign_at_any_scale() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=4000) * 10.0 ** rng.uniform(-300, 300, 4000)
    found = rounded(values)
    assert max(map(bits, found.tolist())) == 15
    assert (np.abs(found - values) <= 2.0**-15 * np.abs(values)).all()
    assert (found != values).mean() > 0.99
    np.testing.assert_array_equal(rounded(-values), -found)
    np.testing.assert_array_equal(rounded(found), found)


def test_rounding_by_hand() -> None:
    given = [
        0.0,
        1.0,
        1.0 + 2.0**-14,
        1.0 + 2.0**-16,
        1.0 + 3.0 * 2.0**-15,
        2.0 - 2.0**-20,
        40_003.0,
    ]
    kept = [0.0, 1.0, 1.0 + 2.0**-14, 1.0, 1.0 + 2.0**-13, 2.0, 40_004.0]
    assert rounded(np.array(given)).tolist() == kept


def walked(tree: Any, row: np.ndarray) -> float:
    node = 0
    while tree.children_left[node] >= 0:
        below = row[tree.feature[node]] <= tree.threshold[node]
        node = (tree.children_left if below else tree.children_right)[node]
    return float(tree.value[node, 0, 0])


def boosting_scores(
    boosting: GradientBoostingClassifier, X: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Raw rows through the trees one by one; starts are rounded from the training part's shares."""
    shares = np.unique(target, return_counts=True)[1] / len(target)
    starts = (
        [math.log(shares[1] / shares[0])] if len(shares) == 2 else [math.log(s) for s in shares]
    )
    total = np.tile([short(start) for start in starts], (len(X), 1))
    for stage in boosting.estimators_:
        for output, tree in enumerate(stage):
            total[:, output] += [walked(tree.tree_, row) for row in X]
    return total


@pytest.mark.parametrize("classes", [2, 3])
def test_rounded_trees_decide_on_raw_columns(monkeypatch: pytest.MonkeyPatch, classes: int) -> None:
    result, before, after, train, test = run_arm(monkeypatch, small_boosting, classes, 400)
    raw, T = expanded(train[0]), expanded(test[0])
    means, scales = raw.mean(axis=0), raw.std(axis=0)
    changed = 0
    for exact, kept in zip(before.estimators_.ravel(), after.estimators_.ravel(), strict=True):
        for node, column in enumerate(kept.tree_.feature):
            if column >= 0:
                number, wanted = kept.tree_.threshold[node], exact.tree_.threshold[node]
                wanted = wanted * scales[column] + means[column]
            else:
                number, wanted = kept.tree_.value[node, 0, 0], 0.3 * exact.tree_.value[node, 0, 0]
            assert bits(float(number)) <= 15
            assert abs(number - wanted) <= 1.001 * 2.0**-15 * abs(wanted)
            changed += number != wanted
    assert changed > 40
    # Rows that lie on a rounded threshold go where the rounded number says.
    serial = [
        t
        for e in after.estimators_.ravel()
        for f, t in zip(e.tree_.feature, e.tree_.threshold, strict=True)
        if f == 1
    ]
    assert np.isin(T[:, 1], serial).sum() > 5
    own = boosting_scores(after, T, train[1])
    assert result["accuracy"] == np.mean(decided(own, after.classes_) == test[1]) > 0.6
    with_constant = np.column_stack([T, np.ones(len(T))])
    found = after.decision_function(with_constant).reshape(len(T), -1)
    if classes > 2:
        # scikit-learn's starts have mean 0.
        own, found = (one - one.mean(axis=1, keepdims=True) for one in (own, found))
    np.testing.assert_allclose(found, own, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("budget", [14, 400])
def test_rounded_coefficients_times_raw_values_decide(
    monkeypatch: pytest.MonkeyPatch, classes: int, budget: int
) -> None:
    outputs = 1 if classes == 2 else classes
    result, before, after, train, test = run_arm(
        monkeypatch, small_logistic, classes, budget * outputs
    )
    raw, T = expanded(train[0]), expanded(test[0])
    means, scales = raw.mean(axis=0), raw.std(axis=0)
    columns = np.arange(6)
    if budget == 14:
        sparse = LogisticRegression(C=0.1, max_iter=500).fit((raw - means) / scales, train[1])
        columns = np.argsort(-np.abs(sparse.coef_).sum(axis=0))[:4]
    assert after.coef_.shape == (outputs, len(columns))
    assert max(map(bits, [*after.coef_.ravel().tolist(), *after.intercept_.tolist()])) == 15
    own = T[:, columns] @ after.coef_.T + after.intercept_
    exact = before.decision_function(((T - means) / scales)[:, columns]).reshape(len(T), -1)
    size = np.abs(T[:, columns]) @ np.abs(after.coef_.T) + np.abs(after.intercept_)
    assert np.abs(own - exact).max() > 0.0
    assert (np.abs(own - exact) <= 1.001 * 2.0**-15 * size).all()
    assert result["accuracy"] == np.mean(decided(own, after.classes_) == test[1]) > 0.6


def counted(estimator: Any, columns: int) -> int:
    """Number by number, 2 bytes each, and one for each name of a column that must be said."""
    if isinstance(estimator, LogisticRegression):
        named = estimator.coef_.size if estimator.coef_.shape[1] < columns else 0
        return 2 * len([*estimator.coef_.ravel(), *estimator.intercept_]) + named
    size = 2 * estimator.estimators_.shape[1]
    for tree in estimator.estimators_.ravel():
        size += sum(3 if left >= 0 else 2 for left in tree.tree_.children_left)
    return size


@pytest.mark.parametrize("arm", [small_boosting, small_logistic])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("budget", [30, 59, 200, 1001])
def test_bytes_are_at_most_the_budget(
    monkeypatch: pytest.MonkeyPatch, arm: Any, classes: int, budget: int
) -> None:
    result, _, after, *_ = run_arm(monkeypatch, arm, classes, budget)
    assert counted(after, 6) == result["bytes"] <= budget


@pytest.mark.parametrize(("arm", "least"), [(small_boosting, 9), (small_logistic, 5)])
def test_what_no_budget_holds_says_its_own_bytes(
    monkeypatch: pytest.MonkeyPatch, arm: Any, least: int
) -> None:
    result, _, after, *_ = run_arm(monkeypatch, arm, 2, 1)
    assert counted(after, 6) == result["bytes"]
    assert least <= result["bytes"] <= 19


def test_brier_score_of_two_classes_is_that_of_the_second() -> None:
    given = np.array([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5]])
    by_hand = (0.2**2 + 0.3**2 + 0.5**2) / 3
    target = np.array(["a", "b", "b"])
    assert brier(given, np.array(["a", "b"]), target) == pytest.approx(by_hand, rel=1e-14)


def test_brier_score_of_three_classes_is_summed_over_them() -> None:
    given = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    by_hand = ((0.5**2 + 0.3**2 + 0.2**2) + (0.1**2 + 0.9**2 + 0.8**2)) / 2
    assert brier(given, np.array([1, 2, 3]), np.array([1, 2])) == pytest.approx(by_hand, rel=1e-14)


@pytest.mark.parametrize(
    ("train", "test", "by_hand"),
    [
        # The second class has 2 of 8 training rows.
        ("aaaaaabb", "aab", (2 * 0.25**2 + 0.75**2) / 3),
        # Shares 0.5, 0.3, 0.2.
        (
            "aaaaabbbcc",
            "ac",
            ((0.5**2 + 0.3**2 + 0.2**2) + (0.5**2 + 0.3**2 + 0.8**2)) / 2,
        ),
    ],
)
def test_class_shares_score_what_they_do_by_hand(
    monkeypatch: pytest.MonkeyPatch, train: str, test: str, by_hand: float
) -> None:
    def shares_alone(random_state: int) -> DummyClassifier:
        return DummyClassifier(strategy="prior", random_state=random_state)

    monkeypatch.setattr(probabilities, "QuantizedClassifier", shares_alone)
    monkeypatch.setattr(probabilities, "LARGE", {})
    parts = [
        (pd.DataFrame({"x": np.arange(len(labels), dtype=float)}), np.array(list(labels)))
        for labels in (train, test)
    ]
    found = scores(*parts, 0)
    assert found == {"shares": pytest.approx(by_hand), "ours": pytest.approx(by_hand)}


def test_peers_are_scored_on_the_test_part_by_probabilities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers = {"logistic": (LogisticRegression(), {"C": [1.0]}), "svm": (SVC(), {"C": [1.0]})}
    monkeypatch.setattr(
        probabilities, "QuantizedClassifier", lambda random_state: DummyClassifier()
    )
    monkeypatch.setattr(probabilities, "LARGE", peers)
    train, test = part(2, 150, 0), part(2, 300, 1)
    found = scores(train, test, 0)
    raw, T = expanded(train[0]), expanded(test[0])
    means, scales = raw.mean(axis=0), raw.std(axis=0)
    logistic = LogisticRegression().fit((raw - means) / scales, train[1])
    second = logistic.predict_proba((T - means) / scales)[:, 1]
    by_hand = np.mean((second - (test[1] == logistic.classes_[1])) ** 2)
    # The arm has the constant column beside these, whose coefficient is shrunk.
    assert found["logistic"] == pytest.approx(by_hand, rel=1e-3)
    assert 0.0 < found["svm"] < found["shares"]
