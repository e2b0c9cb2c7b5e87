"""Outputs in which some rows have no part: pairs of classes, each with a bound of its own."""

import numpy as np
import pytest

from qnn import Problem, QuantizedClassifier, VectorProblem, train_outputs, verify
from qnn.errors import CertificateError, InputError
from qnn.features.targets import TargetCoding
from qnn.training.selection import Wanted, choose
from qnn.training.selection.costs import estimate_seconds
from tests.qnn.bruteforce import exact_optimum

CODING = TargetCoding(classes=(0, 1, 2), pairs=True)


def three_classes(n=45, apart=1.0, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 3)) + apart * np.eye(3)[y], y


def pairs_of(X, y, beta=0.3, **options):
    return VectorProblem(X, CODING.encode(y), beta, "logistic", **options)


def test_each_output_is_the_problem_of_its_rows_alone():
    X, y = three_classes()
    weights = np.linspace(0.5, 2.0, len(y))
    several = pairs_of(X, y, sample_weight=weights)
    again = pairs_of(X, y, beta=1.0).with_weights(weights).with_beta(0.3)
    for index, (first, second) in enumerate(CODING.pair_codes):
        rows = (y == first) | (y == second)
        target = np.where(y[rows] == second, 1.0, -1.0)
        alone = Problem(X[rows], target, 0.3, "logistic", sample_weight=weights[rows])
        for own in (several.outputs[index], again.outputs[index]):
            assert own.data_sha256 == alone.data_sha256
            assert own.beta_max == alone.beta_max


def test_bounds_hold_for_the_rows_of_a_pair_and_for_no_others():
    X, y = three_classes(n=24)
    problem = pairs_of(X, y)
    trained = train_outputs(problem, rounding="refined", width=4)
    coded = CODING.encode(y)
    assert trained.lower_bound <= trained.objective
    assert trained.objective == pytest.approx(problem.objective(trained.network))
    for index, certificate in enumerate(trained.certificates):
        rows = coded[:, index] != 0.0
        bound = verify(certificate, X[rows], coded[rows, index])
        # Below the true optimum, by enumeration of every neuron.
        assert bound <= exact_optimum(problem.outputs[index]) * (1 + 1e-6)
        with pytest.raises((CertificateError, InputError)):
            verify(certificate, X, coded[:, index])


@pytest.mark.parametrize("column", [[0.0, 1.0, 1.0, 0.0], [0.0] * 4, [0.0, -1.0, 0.0, 0.0]])
def test_classes_coded_0_and_1_are_not_taken_for_pairs(column):
    Y = np.column_stack([[1.0, -1.0, 1.0, -1.0], column])
    with pytest.raises(InputError, match=r"not both -1 and \+1"):
        VectorProblem(np.eye(4), Y, 0.1, "logistic")
    # To a loss of numbers 0 is one.
    assert VectorProblem(np.eye(4), Y, 0.1).outputs[1].n == 4


def test_an_estimator_of_pairs_predicts_proves_and_is_kept():
    X, y = three_classes(n=90, apart=3.0)
    names = np.array(["x", "y", "z"])[y]
    model = QuantizedClassifier(
        multi_class="one_vs_one", scaling="standardize", loss="logistic", beta_fraction=0.05,
        width=4, random_state=0,
    ).fit(X, names)  # fmt: skip
    assert model.network_.alpha.shape[1] == 3
    assert model.decision_function(X).shape == model.predict_proba(X).shape == (90, 3)
    assert model.score(X, names) > 0.85
    assert (model.predict(X) == model.network_.predict(X)).all()
    read = type(model.network_).from_bytes(model.network_.to_bytes())
    assert (read.predict(X) == model.predict(X)).all()
    assert model.lower_bound_ <= model.upper_bound_
    with pytest.raises(InputError, match="loss of classes"):
        QuantizedClassifier(multi_class="one_vs_one", scaling="standardize").fit(X, names)
    with pytest.raises(InputError, match="multi_class must be"):
        QuantizedClassifier(multi_class="ovo").fit(X, names)


def between(n=240, classes=6, seed=1):
    """Classes on a line: each between two others but for the ends, one of two columns is noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return np.column_stack([y + 0.22 * rng.normal(size=n), rng.normal(size=n)]), y


def test_pairs_are_chosen_where_they_are_more_accurate():
    X, y = between()
    wanted = Wanted(scaling="standardize", width=2, activation="bilinear")
    choice = choose(X, y, list(range(6)), wanted)
    best = {
        coding: max(cell.score for cell in choice.cells if cell.kind.multi_class == coding)
        for coding in ("one_vs_rest", "one_vs_one")
    }
    assert best["one_vs_one"] > best["one_vs_rest"] + 0.05
    assert choice.kind.multi_class == "one_vs_one"
    rest = Wanted(scaling="standardize", width=2, multi_class="one_vs_rest")
    assert estimate_seconds(X, 240, list(range(6)), rest) < estimate_seconds(
        X, 240, list(range(6)), wanted
    )
    assert choose(X, y, list(range(6)), rest).kind.multi_class == "one_vs_rest"


def test_pairs_are_not_tried_where_they_cannot_be():
    X, y = three_classes(n=60)
    squared = Wanted(scaling="standardize", loss="squared", beta_fraction=0.1, width=2)
    assert {c.kind.multi_class for c in choose(X, y, [0, 1, 2], squared).cells} == {"one_vs_rest"}
    with pytest.raises(InputError, match="loss of classes"):
        choose(X, y, [0, 1, 2], Wanted(loss="squared", multi_class="one_vs_one"))
