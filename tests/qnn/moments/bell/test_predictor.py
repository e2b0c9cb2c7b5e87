"""Foretold moments: equivariant, homogeneous, trained by the bound, and never trusted."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from qnn.errors import InputError
from qnn.moments import bell
from qnn.moments.bell.predictor import CENTRING, Predictor, purpose, smoothed
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.symmetry import relabellings
from qnn.moments.words import Scenario
from qnn.semidefinite.predictors import Network

CHSH = Scenario.parse("2222")


@pytest.fixture(scope="module")
def trained() -> Network:
    return bell.train_predictor(steps=150, seed=0, widths=(32, 32))


def least(S: np.ndarray, mu: float) -> float:
    """``min_s s - mu logdet(s I + S)`` by a scalar minimization."""
    spectrum = np.linalg.eigvalsh(S)
    low = -spectrum[0]
    found = minimize_scalar(
        lambda s: s - mu * np.log(s + spectrum).sum(),
        bounds=(low + 1e-9, low + 20 * mu),
        method="bounded",
        options={"xatol": 1e-13},
    )
    return float(found.fun)


def test_the_loss_and_its_gradient_are_those_of_the_smoothed_bound() -> None:
    level = moment_matrix(CHSH, "1+AB")
    b = bell.sample("N", 6, 1)
    x = 0.1 * np.random.default_rng(0).normal(size=(6, 8))
    S = level.assemble(b, x)
    mu = -CENTRING * np.linalg.eigvalsh(S)[:, 0]
    value, gradient = smoothed(level, b, x)
    np.testing.assert_allclose(value, np.mean([least(S[i], mu[i]) for i in range(6)]), rtol=1e-8)
    for i, k in ((0, 0), (3, 5), (5, 7)):
        step = 1e-5 * level.assemble(np.zeros(8), np.eye(8)[k])
        slope = (least(S[i] + step, mu[i]) - least(S[i] - step, mu[i])) / 2e-5
        np.testing.assert_allclose(gradient[i, k] * len(b), slope, atol=1e-4)


def test_it_is_equivariant_and_homogeneous(trained: Network) -> None:
    level, group = moment_matrix(CHSH, "1+AB"), relabellings(CHSH, "1+AB")
    foretell = Predictor(trained, level)
    b = bell.sample("N", 20, 2)
    x = foretell(b)
    assert x.shape == (20, 8)
    np.testing.assert_allclose(foretell(0.5 * b), 0.5 * x, rtol=1e-5, atol=1e-6)
    for e in (3, 50, 127):
        moved = foretell(np.ascontiguousarray(group.sign[e] * b[:, group.index[e]]))
        np.testing.assert_allclose(moved, group.free_sign[e] * x[:, group.free_index[e]], atol=1e-6)


def test_a_little_training_brings_the_bound_nearer(trained: Network) -> None:
    level = moment_matrix(CHSH, "1+AB")
    b = bell.sample("N", 500, 3)

    def bound(x: np.ndarray) -> float:
        return float(-np.linalg.eigvalsh(level.assemble(b, x))[:, 0].mean())

    gauge = bell.decide(b, gap=1e-6).gauge_upper.mean()
    cold, foretold = bound(np.zeros((500, 8))), bound(Predictor(trained, level)(b))
    assert gauge <= foretold < gauge + 0.3 * (cold - gauge)


def test_verdicts_are_the_same_with_it_and_come_from_its_file(trained: Network, tmp_path) -> None:
    trained.save(tmp_path / "model.npz")
    for name in ("U", "N", "B"):
        b = bell.sample(name, 300, 4)
        d = bell.decide(b, model=tmp_path / "model.npz")
        assert (d.verdict == bell.decide(b).verdict).all()
        assert d.certificate(7).check().startswith(str(d.verdict[7]))


def test_the_shipped_network_saves_steps_and_there_is_none_for_other_levels() -> None:
    b = bell.sample("B", 500, 6)
    cold, d = bell.decide(b, fallback=None), bell.decide(b, fallback=None, model="shipped")
    assert (d.verdict == cold.verdict).all()
    assert d.steps.mean() < 0.6 * cold.steps.mean()
    with pytest.raises(InputError, match="no network is shipped for scenario 3322 at level 1, but"):
        bell.decide(np.zeros((1, 15)), scenario="3322", level="1", model="shipped")


def test_a_network_of_another_scenario_is_one_line(trained: Network, tmp_path) -> None:
    path = tmp_path / "model.npz"
    trained.save(path)
    with pytest.raises(InputError, match=r"model\.npz: it was trained for .*1\+AB.*level 1'"):
        bell.decide(np.zeros((1, 8)), level="1", model=path)
    with pytest.raises(InputError, match="train one for this scenario"):
        bell.decide(np.zeros((1, 15)), scenario="3322", model=str(path))
    wrong = Network(trained.weights[:1], trained.biases[:1], purpose(moment_matrix(CHSH, "1+AB")))
    with pytest.raises(InputError, match="sizes"):
        bell.decide(np.zeros((1, 8)), model=wrong)
    with pytest.raises(InputError, match="cannot be read"):
        bell.decide(np.zeros((1, 8)), model=tmp_path / "none.npz")
