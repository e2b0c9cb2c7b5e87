"""Neurons decided against each other: the target says what the loss says, and nothing is lost."""

import itertools
from typing import Any

import numpy as np
import onnx
import pytest

from qnn.certificates.layers import verify_layer
from qnn.quantization import quantize
from qnn.quantization.graph.execution import run
from qnn.quantization.graph.reading import read_model
from qnn.quantization.layers.coupling import FLOOR, Coupled, fisher_weights
from qnn.quantization.layers.grids import Codes, errors
from qnn.quantization.layers.objective import Objective, layer_objective
from qnn.quantization.tuning import divergence
from tests.qnn.quantization.networks import mlp, rows

Array = np.ndarray


def coupled(seed: int = 0, m: int = 4, d: int = 5, bits: int = 2) -> Coupled:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)
    W, gradients = rng.standard_normal((m, d)), rng.standard_normal((3, 60, m))
    # Two of the neurons move the outputs alike, so that their errors can cancel.
    gradients[:, :, 1] = gradients[:, :, 0]
    weights = fisher_weights((gradients**2).sum(axis=0))
    A = X @ W.T
    objectives = [layer_objective(X, A[:, [j]], W[[j]], 1e-2, weights[:, j]) for j in range(len(W))]
    s = np.abs(W).max(axis=1) / 2.0
    codes = Codes(s, np.clip(np.rint(W / s[:, None]), -2, 1).astype(np.int8))
    return Coupled(X, A, gradients, objectives, codes, np.full(m, bits))


def whole(layer: Coupled, codes: Codes) -> float:
    """The model of the loss with floor and damping, written out over rows, directions, neurons."""
    E = np.empty_like(layer.wrong)
    extra = 0.0
    for j, objective in enumerate(layer.objectives):
        v, mean = codes.s[j] * codes.q[j], objective.input_mean
        E[:, j] = layer.X @ v - layer.outputs[:, j] - (v @ mean - objective.output_mean[0])
        g = layer.gradients[:, :, j]
        square = (g**2).sum(axis=0).mean()
        extra += square * FLOOR * (E[:, j] ** 2).mean()
        # The float weights come back from the target that is of one neuron alone.
        float_weights = np.linalg.lstsq(layer.X, layer.outputs[:, j], rcond=None)[0]
        extra += square * (1 + FLOOR) * objective.rho * ((v - float_weights) ** 2).sum()
    return float((np.einsum("cnm,nm->cn", layer.gradients, E) ** 2).sum() / len(E)) + extra


@pytest.mark.parametrize("seed", range(4))
def test_a_neurons_target_says_what_the_whole_loss_says(seed: int) -> None:
    layer = coupled(seed)
    rng = np.random.default_rng(seed + 100)
    before = whole(layer, layer.codes)
    for j, objective in enumerate(layer.objectives):
        w = layer.target(j)[None]
        old = errors(objective.H, layer.codes.weights[[j]] - w)[0]
        for _ in range(5):
            s, q = layer.codes.s.copy(), layer.codes.q.copy()
            s[j], q[j] = s[j] * rng.uniform(0.5, 2.0), rng.integers(-2, 2, q.shape[1])
            changed = errors(objective.H, (s[j] * q[j])[None] - w)[0] - old
            wanted = whole(layer, Codes(s, q)) - before
            assert layer.size[j] * changed == pytest.approx(wanted, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("seed", range(6))
def test_the_whole_loss_never_rises_and_is_kept_up_to_date(seed: int) -> None:
    layer = coupled(seed, m=6)
    start = Codes(layer.codes.s.copy(), layer.codes.q.copy())
    seen: list[float] = []
    before = whole(layer, start)
    layer.improve(seen.append)
    assert whole(layer, layer.codes) < before
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    fresh = Coupled(
        layer.X, layer.outputs, layer.gradients, layer.objectives, layer.codes, layer.bits
    )
    np.testing.assert_allclose(layer.sums, fresh.sums, atol=1e-10)
    np.testing.assert_array_equal(layer.wrong, fresh.wrong)


def test_two_neurons_of_one_effect_share_their_error() -> None:
    """At the end no single neuron's codes, of all at its step, are better for the whole."""
    layer = coupled(3, m=2, d=3)
    for _ in range(4):
        layer.improve(lambda share: None)
    best = whole(layer, layer.codes)
    for j in range(2):
        for q in itertools.product(range(-2, 2), repeat=3):
            other = Codes(layer.codes.s.copy(), layer.codes.q.copy())
            other.q[j] = q
            assert whole(layer, other) > best * (1 - 1e-6)


def test_weights_of_a_neuron_without_effect_are_one() -> None:
    square = np.array([[0.0, 1.0, 5e-324], [0.0, 3.0, 0.0]])
    weights = fisher_weights(square)
    np.testing.assert_allclose(weights[:, 0], 1.0)
    np.testing.assert_allclose(weights[:, 1], (np.array([0.5, 1.5]) + FLOOR) / (1 + FLOOR))
    assert np.isfinite(weights).all()


def silent(scale: float = 1.0) -> Any:
    """An MLP of which two neurons are never above 0."""
    net = mlp((12, 16, 4))
    for tensor in net.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).copy()
        if values.shape == (16,):
            values[[2, 7]] = -1e4
        if values.shape in ((16,), (16, 12)):
            values *= scale
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return net


@pytest.mark.parametrize("net", [mlp((12, 16, 4)), silent()])
def test_coupled_neurons_lose_less_on_rows_not_seen(net: Any) -> None:
    X, new = rows(400, (12,)), rows(1000, (12,), 5)
    graph = read_model(net)
    wanted = run(graph, new)[graph.output]

    def lost(weighting: str) -> float:
        made = quantize(net, X, 2.0, (2,), certify="none", weighting=weighting, beam=16)
        return divergence(wanted, made.simulate(new))

    assert lost("coupled") < 0.9 * lost("fisher")


def exact(certificate: Any, j: int, objective: Objective) -> float:
    """The least error of neuron j at its step, every code tried."""
    lo, hi = -(2 ** (certificate.bits[j] - 1)), 2 ** (certificate.bits[j] - 1) - 1
    grid = np.array(list(itertools.product(range(lo, hi + 1), repeat=len(objective.H))))
    return float(errors(objective.H, certificate.scale[j] * grid - certificate.target[j]).min())


@pytest.mark.parametrize("level", ["bound", "scale", "joint"])
def test_bounds_of_coupled_neurons_stay_below_the_truth(level: str) -> None:
    net, X = mlp((5, 6, 3)), rows(80, (5,))
    made = quantize(net, X, 2.0, (2,), certify=level, weighting="coupled", damp=1e-2)
    plain = quantize(net, X, 2.0, (2,), certify="none", weighting="fisher", damp=1e-2)
    name = made.layers[0].name
    certificate, (inputs, weights) = made.certificates[name], made.rows[name]
    assert weights is not None
    proof = verify_layer(certificate, inputs, weights)
    assert not np.array_equal(certificate.codes, plain.quantized[name].codes.q)
    for j in range(6):
        A = np.zeros((len(inputs), 1))
        objective = layer_objective(inputs, A, np.zeros((1, 5)), 1e-2, weights[:, j])
        truth = exact(certificate, j, objective)
        assert certificate.bound[j] <= truth * (1 + 1e-9)
        assert certificate.value[j] >= truth * (1 - 1e-9)
    assert (proof.bound <= proof.value).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_weights_of_any_size_are_coupled(scale: float) -> None:
    net, X = silent(scale), rows(60, (12,))
    made = quantize(net, X, 2.0, (2,), certify="scale", weighting="coupled", beam=8)
    for name, certificate in made.certificates.items():
        inputs, weights = made.rows[name]
        proof = verify_layer(certificate, inputs, weights)
        assert np.isfinite(proof.value).all()
    assert np.isfinite(made.simulate(X)).all()


def test_only_dense_layers_of_kbest_are_coupled() -> None:
    net, X = mlp((12, 10, 4)), rows(60, (12,))
    by_weights = [
        quantize(net, X, 3.0, (3, 2), method="gptq", certify="none", weighting=weighting)
        for weighting in ("coupled", "fisher")
    ]
    one, other = (made.model.SerializeToString(deterministic=True) for made in by_weights)
    assert one == other
