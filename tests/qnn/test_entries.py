"""What numpy would lose in silence is refused in one line, wherever an array enters."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import qnn
from qnn.errors import shown
from qnn.moments.bell.behaviours import checked
from qnn.moments.bell.functionals import maximum
from qnn.moments.csp.problem import max_cut
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import certify

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 3))
Y = np.where(X[:, 0] * X[:, 1] > 0, 1.0, -1.0)
TRAINED = qnn.train(qnn.Problem(X, Y, 3.0), seed=0)
FITTED = qnn.QuantizedClassifier(beta=3.0, width=2).fit(X, Y)
LAYERED = LayeredNetwork([np.ones((3, 2)), np.ones((2, 1))], [np.zeros(2), np.zeros(1)])
WRONG = {
    "complex": lambda A: A + 1j,
    "masked": lambda A: np.ma.masked_array(A, mask=np.arange(A.size).reshape(A.shape) == 1),
}
ENTRIES: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "problem": (lambda A: qnn.Problem(A, Y, 3.0), X),
    "target": (lambda v: qnn.Problem(X, v, 3.0), Y),
    "scores": (TRAINED.network.decision_function, X),
    "network": (TRAINED.network.predict, X),
    "verify": (lambda A: qnn.verify(TRAINED.certificate, A, Y), X),
    "verified target": (lambda v: qnn.verify(TRAINED.certificate, X, v), Y),
    "fit": (lambda A: qnn.QuantizedClassifier(beta=3.0).fit(A, Y), X),
    "fitted target": (lambda v: qnn.QuantizedRegressor(beta=3.0).fit(X, v), Y),
    "estimator": (FITTED.predict, X),
    "probabilities": (FITTED.predict_proba, X),
    "layers": (LAYERED.scores, X),
    "robustness": (lambda x: certify(LAYERED, x, radius=0.1, label=0), X[0]),
    "cut": (max_cut, np.ones((4, 4)) + np.eye(4)),
    "behaviours": (checked, np.ones((2, 8)) / 9),
    "functional": (maximum, np.ones(8)),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("entry", ENTRIES)
def test_complex_and_masked_numbers_are_refused(entry, wrong):
    call, right = ENTRIES[entry]
    given = WRONG[wrong](right)
    with pytest.raises(ValueError, match=r"(?i)complex|masked") as refused:
        call(given)
    if isinstance(refused.value, qnn.InputError):
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("shape", [(90,), (30, 3, 1), ()])
@pytest.mark.parametrize("entry", ["problem", "scores", "network", "verify", "layers"])
def test_rows_of_no_columns_are_refused(entry, shape):
    with pytest.raises(qnn.QnnError, match=r"shape|columns") as refused:
        ENTRIES[entry][0](np.zeros(shape))
    assert "\n" not in str(refused.value)


def test_a_masked_array_without_masked_entries_is_an_array():
    whole = np.ma.masked_array(X, mask=False)
    assert qnn.verify(TRAINED.certificate, whole, Y) == qnn.verify(TRAINED.certificate, X, Y)
    assert np.array_equal(FITTED.predict(whole), FITTED.predict(X))


def test_messages_show_values_as_people_write_them():
    assert shown(np.float64(0.5)) == "0.5"
    assert shown(np.zeros((3, 2))) == "an array of shape (3, 2)"
    assert len(shown("x" * 1000)) == 60
    with pytest.raises(qnn.InputError, match=r"\(got -0\.5\)"):
        qnn.Problem(X, Y, np.float64(-0.5))
    with pytest.raises(qnn.InputError, match="got an array of shape"):
        qnn.Problem(X, Y, X)
