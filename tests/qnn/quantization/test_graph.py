"""Our arithmetic of ONNX graphs against onnxruntime and finite differences."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from qnn.errors import InputError
from qnn.quantization.graph.execution import (
    activation_grid,
    backward,
    layer_output,
    logits_of,
    output_rows,
    run,
)
from qnn.quantization.graph.export import packed_codes
from qnn.quantization.graph.reading import Node, read_model
from tests.qnn.quantization.networks import Maker, cnn, mlp, rows


def by_runtime(model: onnx.ModelProto, X: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    output: np.ndarray = session.run(None, {"x": X})[0]
    return output


@pytest.mark.parametrize(
    ("make", "shape"), [(mlp, (12,)), (cnn, (2, 8, 8)), (lambda: squeezed(), (2, 5, 5))]
)
def test_the_forward_pass_is_onnxruntime_s(
    make: Callable[[], onnx.ModelProto], shape: tuple[int, ...]
) -> None:
    model = make()
    X = rows(9, shape)
    graph = read_model(model)
    np.testing.assert_allclose(run(graph, X)[graph.output], by_runtime(model, X), atol=2e-5)


def test_batch_normalization_and_added_constants_are_folded() -> None:
    graph = read_model(cnn())
    ops = {step.op for step in graph.steps if isinstance(step, Node)}
    assert "BatchNormalization" not in ops
    assert [layer.kind for layer in graph.layers] == ["conv", "conv", "conv", "matmul"]
    assert [layer.normalized for layer in graph.layers] == [True, True, False, False]
    assert graph.layers[1].groups == 2
    assert graph.output == "y"
    assert graph.layers[-1].target == "y"


@pytest.mark.parametrize("side", [8, 5])
def test_gradients_are_finite_differences(side: int) -> None:
    graph = read_model(cnn() if side == 8 else squeezed())
    X = rows(2, (2, side, side), 3).astype(np.float64)
    rng = np.random.default_rng(0)
    values = run(graph, X)
    direction = rng.standard_normal(values[logits_of(graph)].shape)
    found = backward(graph, values, direction)
    assert set(found) == {layer.name for layer in graph.layers}
    for layer in graph.layers:
        by_bias = output_rows(layer, found[layer.name]).sum(axis=0)
        for j in range(min(3, len(layer.b))):
            ends = []
            for step in (1e-5, -1e-5):
                b = layer.b.copy()
                b[j] += step
                moved = run(graph, X, {layer.name: (layer.W, b)})[graph.output]
                ends.append(float((moved * direction).sum()))
            assert by_bias[j] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6)


def squeezed() -> onnx.ModelProto:
    """A convolution scaled by its own channels, as in MobileNetV3, and a quotient."""
    make = Maker(4)
    x = make.node("HardSwish", make.node("Conv", "x", make.weights(4, 2, 3, 3), pads=[1] * 4))
    squeeze = make.node("Conv", make.node("GlobalAveragePool", x), make.weights(4, 4, 1, 1))
    x = make.node("Mul", x, make.node("HardSigmoid", squeeze, alpha=0.25, beta=0.4))
    below = make.node("Add", make.node("Sigmoid", x), make.constant(np.float32(0.5)))
    x = make.node("Flatten", make.node("Div", x, below))
    make.node("Gemm", x, make.weights(3, 4 * 5 * 5), transB=1, output="y")
    return make.model((2, 5, 5))


def test_an_unknown_operator_is_run_and_stops_gradients() -> None:
    make = Maker()
    x = make.node("Gemm", "x", make.weights(6, 5), transB=1)
    x = make.node("Erf", x)
    make.node("Gemm", x, make.weights(3, 6), transB=1, output="y")
    model = make.model((5,))
    graph = read_model(model)
    X = rows(7, (5,))
    values = run(graph, X)
    np.testing.assert_allclose(values["y"], by_runtime(model, X), atol=1e-5)
    assert set(backward(graph, values, np.ones_like(values["y"]))) == {graph.layers[1].name}


def test_strides_dilations_and_padding() -> None:
    make = Maker(4)
    make.node(
        "Conv",
        "x",
        make.weights(4, 3, 3, 2),
        strides=[2, 1],
        pads=[1, 0, 2, 1],
        dilations=[1, 2],
        output="y",
    )
    model = make.model((3, 9, 7), rank=4)
    X = rows(3, (3, 9, 7))
    layer = read_model(model).layers[0]
    ours = layer_output(layer, X.astype(float), (layer.W, layer.b))
    np.testing.assert_allclose(ours, by_runtime(model, X), atol=1e-5)


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 21, 25])
def test_old_opsets_are_converted(opset: int) -> None:
    make = Maker(1)
    x = make.node("Relu", make.node("Gemm", "x", make.weights(4, 6), make.weights(4), transB=1))
    make.node("Softmax", x, output="y", axis=1)
    model = make.model((6,), opset)
    graph = read_model(model)
    X = rows(5, (6,))
    np.testing.assert_allclose(run(graph, X)["y"], by_runtime(model, X), atol=1e-6)
    assert logits_of(graph) == x


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_are_packed_as_onnx_unpacks_them(bits: int) -> None:
    kind = {2: TensorProto.INT2, 4: TensorProto.INT4, 8: TensorProto.INT8}[bits]
    half = 1 << (bits - 1)
    q = np.random.default_rng(0).integers(-half, half, (3, 5)).astype(np.int8)
    tensor = helper.make_tensor("q", kind, q.shape, packed_codes(q, bits), raw=True)
    assert (onnx.numpy_helper.to_array(tensor).astype(int) == q).all()


def test_activation_grids_hold_zero_and_the_range() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.7, 2.0, 4000)
    for bits in (4, 8):
        grid = activation_grid(x, bits)
        assert grid.apply(np.zeros(1))[0] == 0.0
        assert 0 <= grid.zero < 1 << bits
        assert np.abs(grid.apply(x) - x).mean() <= grid.step
    assert activation_grid(np.zeros(5), 8).apply(np.zeros(5)).tolist() == [0.0] * 5


def test_models_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    with pytest.raises(InputError, match=r"no\.onnx: cannot be read"):
        read_model(path)
    path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="not an ONNX model"):
        read_model(path)
    make = Maker()
    make.node("Relu", "x", output="y")
    with pytest.raises(InputError, match="no Gemm, MatMul or Conv"):
        read_model(make.model((3,)))
    with pytest.raises(InputError, match="opset 5 cannot be converted"):
        read_model(make.model((3,), 5))
    with pytest.raises(InputError, match=r"opset 999 is not known .* with \d+: export"):
        read_model(make.model((3,), 999))
    broken = mlp()
    values = onnx.numpy_helper.to_array(broken.graph.initializer[0]).copy()
    values.flat[0] = np.nan
    tensor = onnx.numpy_helper.from_array(values, broken.graph.initializer[0].name)
    broken.graph.initializer[0].CopyFrom(tensor)
    with pytest.raises(InputError, match="not finite"):
        read_model(broken)
    two = mlp()
    two.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    with pytest.raises(InputError, match="2 inputs"):
        read_model(two)
    double = mlp()
    double.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(InputError, match="32-bit"):
        read_model(double)
