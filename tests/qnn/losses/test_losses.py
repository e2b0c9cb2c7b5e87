"""Each loss against numerical conjugates, derivatives and proximal points."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from qnn.errors import InputError
from qnn.losses import LOSSES, MarginLoss, get_loss

NAMES = sorted(LOSSES)
MARGIN = [name for name in NAMES if issubclass(LOSSES[name], MarginLoss)]


def targets(name: str, rng: np.random.Generator) -> np.ndarray:
    return rng.choice([-1.0, 1.0], 9) if name in MARGIN else rng.normal(size=9) * 2


@pytest.mark.parametrize("name", NAMES)
def test_dual_value_is_minus_the_conjugate_of_minus_nu(name):
    """-g*(-nu) = inf_r g(r) + nu'r, row by row, by a scalar minimizer."""
    loss, rng = get_loss(name), np.random.default_rng(0)
    y = targets(name, rng)
    nu = loss.clip_dual(np.where(rng.random(9) < 0.8, y * rng.random(9), 0.0), y) * 0.9
    total = 0.0
    for target, weight in zip(y, nu, strict=True):
        row = np.array([target])
        found = minimize_scalar(
            lambda r, row=row, weight=weight: loss.value(np.array([r]), row) + weight * r,
            bounds=(-60, 60), method="bounded", options={"xatol": 1e-12},
        )  # fmt: skip
        total += found.fun
    assert loss.dual_value(nu, y) == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_by_differences_and_fenchel_equality(name):
    loss, rng = get_loss(name), np.random.default_rng(1)
    y, r = targets(name, rng), rng.normal(size=9) * 1.7
    gradient = loss.gradient(r, y)
    for i in range(9):
        step = np.zeros(9)
        step[i] = 1e-6
        slope = (loss.value(r + step, y) - loss.value(r - step, y)) / 2e-6
        assert gradient[i] == pytest.approx(slope, abs=1e-5)
    assert loss.dual_value(-gradient, y) == pytest.approx(loss.value(r, y) - gradient @ r, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_second_derivative_by_differences_within_the_curvature(name):
    loss, rng = get_loss(name), np.random.default_rng(4)
    y, r = targets(name, rng), rng.normal(size=9) * 1.7
    if loss.curvature is None:
        assert loss.piecewise_linear
        with pytest.raises(NotImplementedError, match="is not smooth"):
            loss.second_derivative(r, y)
        return
    differences = (loss.gradient(r + 1e-6, y) - loss.gradient(r - 1e-6, y)) / 2e-6
    assert loss.second_derivative(r, y) == pytest.approx(differences, abs=1e-6)
    assert np.all(loss.second_derivative(r, y) <= loss.curvature)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", [1e-3, 0.7, 50.0])
def test_prox_minimizes(name, step):
    loss, rng = get_loss(name), np.random.default_rng(2)
    y, v = targets(name, rng), rng.normal(size=9) * 3
    r = loss.prox(v, y, step)
    value = loss.value(r, y) + ((r - v) ** 2).sum() / (2 * step)
    for _ in range(200):
        other = r + rng.normal(size=9) * 10.0 ** rng.uniform(-6, 1)
        assert loss.value(other, y) + ((other - v) ** 2).sum() / (2 * step) >= value - 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_the_domain_ends_where_it_says(name):
    loss, rng = get_loss(name), np.random.default_rng(3)
    y = targets(name, rng)
    nu = loss.clip_dual(0.3 * np.sign(y) * rng.uniform(0.1, 1, 9), y)
    top = loss.domain_scale(nu, y)
    if np.isfinite(top):
        assert top >= 1.0
        assert np.isfinite(loss.dual_value(top * nu, y))
        assert loss.dual_value(1.0001 * top * nu, y) == -np.inf
    best = loss.best_dual_scale(nu, y, 2.0)
    values = [loss.dual_value(t * nu, y) for t in np.linspace(0, min(2.0, top), 101)]
    assert loss.dual_value(best * nu, y) >= max(values) - 1e-8
    assert 0 <= best <= min(2.0, top)


@pytest.mark.parametrize("name", MARGIN)
def test_margin_losses_refuse_other_targets(name):
    with pytest.raises(InputError, match=r"needs targets -1 or \+1: encode the two classes so"):
        get_loss(name).check_targets(np.array([0.0, 1.0]))


def test_unknown_names_and_parameters_are_refused():
    with pytest.raises(InputError, match=r"loss 'l2' is not known: choose one of absolute, hinge"):
        get_loss("l2")
    with pytest.raises(InputError, match=r"loss 'squared' takes no parameter \(got 2.0\)"):
        get_loss("squared", 2.0)
    with pytest.raises(InputError, match=r"parameter must be positive"):
        get_loss("huber", -1.0)
    assert get_loss("huber", 0.5).parameter == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_what_a_loss_says_of_itself_is_true(name):
    loss, rng = get_loss(name), np.random.default_rng(3)
    y, r = targets(name, rng), rng.normal(size=9) * 1.7
    rows = [slice(i, i + 1) for i in range(9)]
    each = np.array([loss.value(r[i], y[i]) for i in rows])
    assert loss.quadratic == np.allclose(each, 0.5 * (r - y) ** 2)
    assert loss.smooth == (loss.curvature is not None)
    bends = [
        loss.value(r[i] + 1e-3, y[i]) - 2.0 * loss.value(r[i], y[i]) + loss.value(r[i] - 1e-3, y[i])
        for i in rows
    ]
    assert loss.piecewise_linear == (np.abs(bends).max() < 1e-12)
    delta = loss.outlier_price
    if delta is not None:
        o = np.linspace(-20.0, 20.0, 40001)
        best = [np.min(0.5 * (v - o) ** 2 + delta * np.abs(o)) for v in r - y]
        np.testing.assert_allclose(each, best, atol=1e-6)
    assert (delta is not None) == (name == "huber")
