"""Neurons that never answer: left out of the file, and what reads them keeps its meaning."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from qnn.certificates.layers import verify_layer_file
from qnn.errors import InputError
from qnn.quantization import quantize
from qnn.quantization.graph.channels import leave_out_silent, readers_of
from qnn.quantization.graph.execution import run
from qnn.quantization.graph.reading import read_model
from tests.qnn.quantization.networks import Maker, mlp, rows, silenced
from tests.qnn.quantization.test_calibration import agrees


def convolutional() -> onnx.ModelProto:
    """Convolution, pool, convolution, flattened into a dense layer."""
    make = Maker(3)
    bias = [make.constant(np.zeros(m, np.float32)) for m in (5, 6, 4)]
    x = make.node("Conv", "x", make.weights(5, 2, 3, 3), bias[0], pads=[1] * 4)
    x = make.node("MaxPool", make.node("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    x = make.node("Relu", make.node("Conv", x, make.weights(6, 5, 3, 3), bias[1]))
    make.node("Gemm", make.node("Flatten", x), make.weights(4, 24), bias[2], transB=1, output="y")
    return make.model((2, 8, 8))


@pytest.mark.parametrize(
    ("model", "shape", "biases", "gone"),
    [
        (mlp((12, 10, 8, 4), 2), (12,), {0: [0, 7], 1: [3]}, [2, 1]),
        (convolutional(), (2, 8, 8), {0: [1], 1: [0, 5]}, [1, 2]),
        # One stays of a layer that never answers; what it would be read by is not changed.
        (mlp((12, 10, 8, 4), 2), (12,), {0: list(range(10))}, [9]),
    ],
    ids=["dense", "convolutions", "all silent"],
)
def test_the_smaller_network_computes_the_same(
    model: onnx.ModelProto, shape: tuple[int, ...], biases: dict[int, list[int]], gone: list[int]
) -> None:
    graph, X = read_model(silenced(model, biases)), rows(60, shape)
    before = run(graph, X)
    sizes = [layer.W.size for layer in graph.layers]
    found = leave_out_silent(graph, before)
    assert list(found.values())[: len(gone)] == gone
    after = run(graph, X)[graph.output]
    np.testing.assert_allclose(after, before[graph.output], rtol=1e-12, atol=1e-12)
    assert sum(layer.W.size for layer in graph.layers) < sum(sizes)
    for layer in graph.layers:
        assert layer.W.size == np.prod(layer.shape)


@pytest.mark.parametrize("tune", ["bias", "statistics"])
def test_zero_bits_make_a_smaller_file_that_runs_and_is_proven(tmp_path: Path, tune: str) -> None:
    model = silenced(mlp((12, 10, 8, 4), 2), {0: [0, 7], 1: [3]})
    X = rows(120, (12,))
    whole, less = (
        quantize(model, X, 3.0, bits, method="rtn", tune=tune) for bits in ((2, 4), (0, 2, 4))
    )
    assert less.bytes < whole.bytes
    assert [layer.neurons for layer in less.layers] == [8, 7, 4]
    assert [layer.inputs for layer in less.layers] == [12, 8, 7]
    assert sum("left out" in note for note in less.notes) == 2
    # The budget is of the weights that were given.
    assert less.allocation.budget == whole.allocation.budget
    agrees(less, rows(200, (12,), 1))
    for path in less.save_certificates(tmp_path / "proofs"):
        assert verify_layer_file(path).gap >= 0.0


def test_a_convolutional_network_without_silent_channels_runs() -> None:
    model = silenced(convolutional(), {0: [1], 1: [0, 5]})
    made = quantize(model, rows(40, (2, 8, 8)), 4.0, (0, 4), certify="none", method="rtn")
    assert [layer.neurons for layer in made.layers] == [4, 4, 4]
    agrees(made, rows(60, (2, 8, 8), 1))


def test_channels_that_anything_else_reads_stay() -> None:
    make = Maker(1)
    bias = make.constant(np.full(6, -100.0, np.float32))
    first = make.node("Relu", make.node("Gemm", "x", make.weights(6, 12), bias, transB=1))
    second = make.node("Gemm", first, make.weights(6, 6), transB=1)
    both = make.node("Add", first, second)
    make.node("Gemm", both, make.weights(3, 6), transB=1, output="y")
    graph = read_model(make.model((12,)))
    assert [readers_of(graph, layer) for layer in graph.layers] == [None, None, None]
    assert leave_out_silent(graph, run(graph, rows(30, (12,)))) == {}


def test_hidden_outputs_of_the_model_keep_their_channels_and_their_order() -> None:
    model = silenced(mlp((100, 64, 6)), {0: [2, 3]})
    hidden = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    model.graph.output.append(helper.make_tensor_value_info(hidden, TensorProto.FLOAT, ["n", 64]))
    X = rows(200, (100,))
    made = quantize(model, X, 4.0, (0, 2, 8), certify="none", method="rtn")
    assert len(set(made.quantized[made.layers[0].name].bits)) == 2
    assert made.layers[0].neurons == 64
    float_, small = (
        onnxruntime.InferenceSession(m.SerializeToString()).run([hidden], {"x": X})[0]
        for m in (model, made.model)
    )
    assert np.abs(small - float_).mean() < 0.5 * np.abs(float_).mean()


@pytest.mark.parametrize(
    ("bits", "group", "budget", "message"),
    [
        ((0,), "neuron", 3.0, "or 0 beside them"),
        ((0, 2), "layer", 3.0, "ask for group neuron"),
        ((0, 2), "neuron", 0.5, "smallest possible are"),
        ((0, 1, 2), "neuron", 3.0, "whole numbers from 2 to 8"),
    ],
)
def test_zero_bits_that_cannot_be_are_refused(
    bits: tuple[int, ...], group: str, budget: float, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        quantize(mlp(), rows(30, (12,)), budget, bits, certify="none", method="rtn", group=group)
    assert "\n" not in str(caught.value)
