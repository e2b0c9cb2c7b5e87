"""Orthonormal weights: values against an SVD, gradients against finite differences."""

from typing import Any

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.training.arms.orthonormal import (
    Orthogonality,
    PowerSteps,
    expanded,
    mapped,
    orthonormal_straight_through,
    penalty_gradient,
)
from qnn.training.arms.orthonormal_study import holm, study, train_mlp
from qnn.training.arms.references.float_mlp import float_mlp
from qnn.training.arms.straight_through import straight_through
from qnn.training.problems.problem import Problem

MAPS = (
    Orthogonality("sn"),
    Orthogonality("aon", order=1),
    Orthogonality("aon", order=4),
    Orthogonality("bjorck", order=1, iterations=3),
    Orthogonality("bjorck", order=2, iterations=2),
)


def singular(W: np.ndarray) -> np.ndarray:
    return np.linalg.svd(W, compute_uv=False)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5)])
@pytest.mark.parametrize("setting", MAPS, ids=str)
def test_gradients_pass_the_expansion_and_the_normalization(
    setting: Orthogonality, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    W, G, D = (rng.standard_normal(shape) for _ in range(3))
    many = PowerSteps(steps=400)
    many.largest("raw", W if shape[0] <= shape[1] else W.T)

    def value(step: float) -> float:
        return float(
            (mapped(W + step * D, setting, PowerSteps(many.vectors.copy(), 400))[0] * G).sum()
        )

    _, back = mapped(W, setting, PowerSteps(many.vectors.copy(), 400))
    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    assert float((back(G) * D).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_order_1_is_one_newton_schulz_step_and_orders_converge() -> None:
    W = np.random.default_rng(1).standard_normal((4, 9))
    W /= singular(W)[0]
    np.testing.assert_allclose(expanded(W, 1)[0], 1.5 * W - 0.5 * W @ W.T @ W, rtol=1e-12)
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    far = [float(np.abs(expanded(W, order)[0] - U @ Vt).max()) for order in (1, 4, 16, 256)]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 1e-2 * far[0]
    for order in (1, 3, 8):
        found = singular(expanded(W, order)[0])[::-1]
        assert (
            (1.0 - found >= -1e-12) & (1.0 - found <= (1 - s[::-1] ** 2) ** (order + 1) + 1e-12)
        ).all()


def test_bjorck_becomes_orthonormal_and_aon_has_norm_1() -> None:
    W = np.random.default_rng(2).standard_normal((5, 8))
    state = PowerSteps(steps=200)
    assert (
        np.abs(singular(mapped(W, Orthogonality("bjorck", iterations=30), state)[0]) - 1).max()
        < 1e-9
    )
    assert singular(mapped(W, Orthogonality("aon"), PowerSteps(steps=500))[0])[0] == pytest.approx(
        1.0
    )


def test_the_penalty_s_gradient() -> None:
    rng = np.random.default_rng(3)
    for shape in ((3, 6), (6, 3)):
        W, D = rng.standard_normal(shape), rng.standard_normal(shape)

        def value(A: np.ndarray) -> float:
            A = A if len(A) <= A.shape[1] else A.T
            return 0.3 * float(((A @ A.T - np.eye(len(A))) ** 2).sum())

        slope = (value(W + 1e-5 * D) - value(W - 1e-5 * D)) / 2e-5
        assert float((penalty_gradient(W, 0.3) * D).sum()) == pytest.approx(slope, rel=1e-5)


def test_detach_leaves_the_map_out_of_the_gradient() -> None:
    rng = np.random.default_rng(4)
    W, G = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    assert (mapped(W, Orthogonality("aon", detach=True), PowerSteps())[1](G) == G).all()


@pytest.mark.parametrize("setting", [Orthogonality(), Orthogonality("soft"), *MAPS], ids=str)
def test_networks_learn_with_every_kind(setting: Orthogonality) -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((300, 6))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    net = train_mlp(X, y, (6, 16, 2), setting, 8e-3, 0, steps=400)
    assert net.steps == 400
    assert net.accuracy(X, y) > 0.85


def test_a_study_is_paired_and_corrected() -> None:
    rng = np.random.default_rng(6)
    X = rng.standard_normal((160, 5))
    y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
    data = {"toy": (X[:80], y[:80], X[80:], y[80:])}
    kinds = {"none": Orthogonality(), "same": Orthogonality(), "sn": Orthogonality("sn")}
    rows = study(data, kinds, range(3), (8,), steps=30)
    assert [(r.kind, r.equal) for r in rows] == [
        (k, e) for e in ("steps", "seconds") for k in kinds
    ]
    assert rows[1].difference == 0.0
    assert rows[1].p_value == rows[1].p_holm == 1.0
    assert all(r.p_holm >= r.p_value for r in rows)
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_the_arm_on_signs_gives_a_network() -> None:
    rng = np.random.default_rng(7)
    X = rng.standard_normal((40, 6))
    problem = Problem(X, X[:, 0] * X[:, 1], beta=0.5)
    network = orthonormal_straight_through(problem, 8, 0.3, rng)
    assert problem.objective(network) <= 0.5 * float((problem.y**2).sum()) + 1e-9


def test_the_soft_penalty_on_latents_is_the_gradient_of_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pulls: list[Any] = []
    monkeypatch.setattr(
        "qnn.training.arms.orthonormal.backpropagate", lambda *given: pulls.append(given[-1])
    )
    rng = np.random.default_rng(8)
    X = rng.standard_normal((20, 5))
    problem = Problem(X, X[:, 0], beta=0.5)
    straight_through(problem, 3, 0.1, rng, Orthogonality("soft", weight=0.7))
    for width in (3, 9):
        U, move = rng.uniform(-1, 1, (5, width)), rng.standard_normal((5, width))

        def penalty(U: np.ndarray) -> float:
            gram = U.T @ U / 5 if U.shape[1] <= 5 else U @ U.T / 5
            return 20 * 0.7 * float(((gram - np.eye(len(gram))) ** 2).sum())

        slope = (penalty(U + 1e-6 * move) - penalty(U - 1e-6 * move)) / 2e-6
        assert float((pulls[0](U) * move).sum()) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("kind", ["none", "soft", "sn", "aon", "bjorck"])
def test_the_arm_takes_every_kind(kind: str) -> None:
    rng = np.random.default_rng(7)
    X = rng.standard_normal((40, 6))
    problem = Problem(X, X[:, 0] * X[:, 1], beta=0.5)
    network = straight_through(problem, 8, 0.1, rng, Orthogonality(kind))
    assert set(np.unique(network.U)) <= {-1, 1}
    assert problem.objective(network) <= 0.5 * float((problem.y**2).sum()) + 1e-9


def test_the_float_network_has_the_weights_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qnn.training.arms.references.float_mlp.STEPS", 50)
    rng = np.random.default_rng(9)
    X = rng.standard_normal((120, 10))
    labels = np.where(X[:, 0] + X[:, 1] ** 2 > 1, "b", "a")
    spreads = {}
    for kind in ("none", "bjorck"):
        model = float_mlp(X, labels, 0, Orthogonality(kind, iterations=20))
        values = np.linalg.svd(model.network.weights[1], compute_uv=False)
        spreads[kind] = values.max() / values.min()
        assert model.decision_function(X).shape == (120,)
        right = np.where(model.decision_function(X) > 0, "b", "a")
        assert (right == model.predict(X)).all()
        assert model.size_in_bytes == 4 * (10 * 64 + 64 + 64 * 32 + 32 + 32 * 2 + 2)
    assert spreads["bjorck"] < 1.01 < 2.0 < spreads["none"]


@pytest.mark.parametrize(
    "wrong", [{"kind": "qr"}, {"order": 0}, {"iterations": 0}, {"weight": np.nan}], ids=str
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="orthogonality"):
        Orthogonality(**wrong)
