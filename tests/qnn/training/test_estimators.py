import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from qnn.certificates.checker import verify
from qnn.errors import InputError
from qnn.networks.activations import Polynomial
from qnn.networks.quantized import QuantizedNetwork
from qnn.training.estimators import QuantizedClassifier, QuantizedRegressor


@parametrize_with_checks(
    [
        QuantizedClassifier(),
        # Weights and repetitions give the same network where neither solve decides a near tie.
        QuantizedClassifier(scaling="standardize", tol=1e-5),
        QuantizedRegressor(),
        QuantizedClassifier(scaling="thermometer", thresholds=2),
    ]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_breast_cancer_is_classified_with_a_proven_gap(tmp_path):
    X, labels = load_breast_cancer(return_X_y=True)
    y = np.array(["malignant", "benign"])[labels]
    model = QuantizedClassifier(scaling="standardize", random_state=0, calibration=None)
    model.fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.9
    assert model.lower_bound_ <= model.upper_bound_
    assert model.gap_ == pytest.approx(1 - model.lower_bound_ / model.upper_bound_)
    assert model.gap_ < 0.1
    matrix = model.network_.preprocessing.transform(X[::2])
    coded = np.where(y[::2] == model.classes_[1], 1.0, -1.0)
    assert verify(model.certificate_, matrix, coded) == pytest.approx(model.lower_bound_)
    penalty = model.beta_ * matrix.shape[1] * np.abs(model.network_.alpha).sum()
    loss = 0.5 * np.sum((model.decision_function(X[::2]) - coded) ** 2)
    assert loss + penalty == pytest.approx(model.upper_bound_)
    model.network_.save(tmp_path / "n.npz")
    loaded = QuantizedNetwork.load(tmp_path / "n.npz")
    assert list(loaded.predict(X)) == list(model.predict(X))


def test_width_and_beta_are_respected():
    X, y = load_breast_cancer(return_X_y=True)
    model = QuantizedClassifier(beta=50.0, width=5, random_state=1, calibration=None).fit(X, y)
    assert model.network_.neurons <= 5
    assert model.beta_ == model.certificate_.beta == 50.0


def test_diabetes_is_regressed_in_its_own_units():
    X, y = load_diabetes(return_X_y=True)
    model = QuantizedRegressor(random_state=0).fit(X, 1000.0 * y + 5.0)
    assert model.score(X, 1000.0 * y + 5.0) > 0.45
    assert model.lower_bound_ <= model.upper_bound_


def test_the_same_random_state_gives_the_same_network():
    X, y = load_breast_cancer(return_X_y=True)
    one, two = (
        QuantizedClassifier(width=8, scaling="standardize", random_state=3, calibration=None).fit(
            X, y
        )
        for _ in range(2)
    )
    assert one.network_.to_bytes() == two.network_.to_bytes()


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_a_beta_fraction_outside_the_unit_interval_is_refused(fraction):
    with pytest.raises(InputError, match=r"beta_fraction must be above 0 and at most 1 \(got"):
        QuantizedClassifier(beta_fraction=fraction).fit(np.eye(4), [0, 1, 0, 1])


def test_three_classes_are_classified_with_a_proof_for_each(tmp_path):
    X, labels = load_iris(return_X_y=True)
    y = np.array(["setosa", "versicolor", "virginica"])[labels]
    model = QuantizedClassifier(scaling="standardize", beta_fraction=0.01, random_state=0)
    model.fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.9
    scores = model.decision_function(X)
    assert scores.shape == (150, 3)
    assert list(model.predict(X)) == list(model.classes_[scores.argmax(axis=1)])
    matrix = model.network_.preprocessing.transform(X[::2])
    coded = np.where(y[::2, None] == model.classes_, 1.0, -1.0)
    bounds = [verify(c, matrix, coded[:, c.output]) for c in model.certificates_]
    assert [c.output for c in model.certificates_] == [0, 1, 2]
    assert sum(bounds) == pytest.approx(model.lower_bound_)
    assert model.lower_bound_ <= model.upper_bound_
    penalty = model.beta_ * matrix.shape[1] * np.abs(model.network_.alpha).sum()
    loss = 0.5 * np.sum((model.decision_function(X[::2]) - coded) ** 2)
    assert loss + penalty == pytest.approx(model.upper_bound_)
    assert not hasattr(model, "certificate_")
    model.network_.save(tmp_path / "n.npz")
    assert list(QuantizedNetwork.load(tmp_path / "n.npz").predict(X)) == list(model.predict(X))


@pytest.mark.slow
def test_digits_are_classified_with_a_proof_for_each():
    X, y = load_digits(return_X_y=True)
    model = QuantizedClassifier(
        scaling="standardize", beta_fraction=0.01, width=16, random_state=0, calibration=None
    ).fit(X[::2], y[::2])
    # Measured: 0.951, as logistic regression has on these rows.
    assert model.score(X[1::2], y[1::2]) > 0.94
    network = model.network_
    assert network.neurons <= 160
    assert network.size_in_bytes < 4200
    matrix = network.preprocessing.transform(X[::2])
    coded = network.preprocessing.encode_target(y[::2])
    bounds = [verify(c, matrix, coded[:, c.output]) for c in model.certificates_]
    assert len(bounds) == 10
    assert 0.0 < model.lower_bound_ <= sum(bounds) <= model.upper_bound_
    assert model.gap_ < 0.2


def test_several_targets_are_regressed_in_their_units():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4))
    Y = np.column_stack([X[:, 0] * X[:, 1], 100.0 * X[:, 2] + 7.0])
    model = QuantizedRegressor(random_state=0).fit(X, Y)
    assert model.predict(X).shape == (80, 2)
    assert model.score(X, Y) > 0.85
    assert model.lower_bound_ <= model.upper_bound_
    alone = QuantizedRegressor(random_state=0, beta=model.beta_).fit(X, Y[:, 1])
    assert alone.lower_bound_ == pytest.approx(model.certificates_[1].lower_bound, rel=2e-3)
    assert alone.certificates_ == (alone.certificate_,)


def test_one_class_is_refused():
    with pytest.raises(InputError, match="needs samples of two classes; the data contain one cl"):
        QuantizedClassifier().fit(np.eye(4), [1, 1, 1, 1])


def test_the_kinds_of_network_reach_the_network_and_its_certificate():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = np.where(X[:, 0] * X[:, 1] > 0.3, "yes", "no")
    model = QuantizedClassifier(
        loss="logistic",
        scaling="standardize",
        activation=Polynomial(0.0937, 0.5, 0.4688),
        alphabet="ternary",
        second_layer=3,
        width=6,
        random_state=0,
    ).fit(X, y)
    network, certificate = model.network_, model.certificate_
    assert (network.loss, network.alphabet, network.second_layer) == ("logistic", "ternary", "3")
    assert network.polynomial == tuple(certificate.polynomial) == (0.0937, 0.5, 0.4688)
    assert (certificate.loss, certificate.alphabet) == ("logistic", "ternary")
    assert network.neurons <= 6
    assert model.lower_bound_ <= model.upper_bound_
    assert set(model.predict(X)) <= {"yes", "no"}
    huber = QuantizedRegressor(loss="huber", loss_parameter=0.5, width=4, random_state=0)
    assert huber.fit(X, X[:, 0]).certificate_.loss_parameter == 0.5


def test_a_margin_loss_of_a_regression_is_refused():
    with pytest.raises(InputError) as error:
        QuantizedRegressor(loss="hinge").fit(np.eye(3), np.array([0.5, 1.5, 2.0]))
    assert str(error.value) == (
        "loss 'hinge' needs targets -1 or +1: encode the two classes so, or choose a loss "
        "of numbers, such as squared"
    )


def test_features_become_bits_and_the_saved_network_reads_raw_rows(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    model = QuantizedClassifier(
        beta_fraction=0.1, width=8, scaling="thermometer", thresholds=2, random_state=0
    ).fit(X, y)
    bits = model.network_.preprocessing.transform(X)
    assert set(np.unique(bits)) == {-1.0, 1.0}
    assert bits.shape[1] == 2 * X.shape[1] + 1
    assert model.lower_bound_ <= model.upper_bound_
    coded = np.where(y == model.classes_[1], 1.0, -1.0)
    assert verify(model.certificate_, bits, coded) == pytest.approx(model.lower_bound_)
    model.network_.save(tmp_path / "network.npz")
    loaded = QuantizedNetwork.load(tmp_path / "network.npz")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scaling": "bits"},
            "scaling must be one of standardize, none, weighted, quantile, thermometer",
        ),
        ({"scaling": "thermometer", "clip": 3.0}, "clip means nothing to bits"),
        ({"scaling": "thermometer", "thresholds": 0}, "thresholds must be"),
    ],
)
def test_encodings_that_cannot_be_are_refused(options, message):
    X, y = load_breast_cancer(return_X_y=True)
    with pytest.raises(InputError) as error:
        QuantizedClassifier(**options).fit(X, y)
    assert message in str(error.value)


def test_what_is_left_out_is_chosen_with_a_proof_for_what_was_chosen():
    X, y = load_iris(return_X_y=True)
    X, y = X[:, 2:], np.where(y == 2, "virginica", "other")
    model = QuantizedClassifier(random_state=0).fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.9
    choice = model.choice_
    assert {str(cell.kind).split()[0].strip(",") for cell in choice.cells} == {
        "standardize",
        "weighted",
        "thermometer",
    }
    layout = model.network_.preprocessing.layout
    assert (layout.scaling, model.network_.loss) == (choice.kind.scaling, choice.kind.loss)
    assert model.network_.neurons <= choice.width
    matrix = model.network_.preprocessing.transform(X[::2])
    coded = np.where(y[::2] == "virginica", 1.0, -1.0)
    assert verify(model.certificate_, matrix, coded) == pytest.approx(model.lower_bound_)
    assert model.lower_bound_ <= model.upper_bound_


def test_a_beta_in_units_of_an_encoding_that_is_to_be_chosen_is_refused():
    with pytest.raises(InputError, match="beta is a number in units of one loss and one encoding"):
        QuantizedClassifier(beta=5.0, scaling="auto").fit(np.eye(4), [0, 1, 0, 1])
