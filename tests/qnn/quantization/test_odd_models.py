"""Networks as exporters really write them: each is quantized as onnxruntime runs it, or said."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from qnn.certificates.layers import verify_layer
from qnn.errors import InputError
from qnn.quantization import Quantized, quantize
from qnn.quantization.graph.execution import run
from qnn.quantization.graph.reading import read_model
from qnn.quantization.runtime import check_in_runtime
from tests.qnn.quantization.networks import Maker, mlp, rows

Array = np.ndarray


def by_runtime(model: onnx.ModelProto, X: Array) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": X}), strict=True))


def quantized(model: onnx.ModelProto, X: Array, layers: int, **more: Any) -> Quantized:
    """The network at 4 and 8 bits, after checks that onnxruntime agrees, before and after."""
    graph = read_model(model)
    assert len(graph.layers) == layers
    wanted = by_runtime(model, X)
    mine = run(graph, X)[graph.output]
    largest = np.abs(wanted[graph.output]).max()
    np.testing.assert_allclose(mine, wanted[graph.output], atol=2e-5 * largest)
    made = quantize(model, X, 8.0, (4, 8), **{"method": "gptq", "certify": "none", **more})
    check_in_runtime(made, X)
    found = by_runtime(made.model, X)
    assert found.keys() == wanted.keys()
    for name, values in found.items():
        off = np.abs(values - wanted[name]).mean() / np.abs(wanted[name]).mean()
        assert off < 0.1, name
    return made


def pooled(make: Maker, x: str, channels: int) -> None:
    x = make.node("Flatten", make.node("GlobalAveragePool", make.node("Relu", x)))
    make.node("Gemm", x, make.weights(channels, 3), output="y")


@pytest.mark.parametrize("way", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_by_a_word_is_padding_in_numbers(way: str, stride: int) -> None:
    make = Maker(1)
    x = make.node("Conv", "x", make.weights(4, 2, 4, 3), strides=[stride, 2], auto_pad=way)
    x = make.node("MaxPool", x, kernel_shape=[2, 2], strides=[1, 2], auto_pad=way)
    pooled(make, x, 4)
    quantized(make.model((2, 9, 8)), rows(30, (2, 9, 8)), 2)


def test_padding_that_depends_on_an_unknown_size_stays_in_float_and_is_said() -> None:
    make = Maker(1)
    x = make.node("Conv", "x", make.weights(4, 2, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    pooled(make, x, 4)
    model = make.model((2, 8, 8))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    made = quantized(model, rows(30, (2, 8, 8)), 1)
    assert any("left in float: Conv0" in note for note in made.notes)


def test_weights_behind_nodes_are_found() -> None:
    make = Maker(2)
    half = make.constant(make.rng.standard_normal((8, 6)).astype(np.float16))
    x = make.node("MatMul", "x", make.node("Cast", half, to=TensorProto.FLOAT))
    x = make.node("Relu", make.node("Add", x, make.node("Identity", make.weights(6))))
    x = make.node("MatMul", x, make.node("Transpose", make.weights(5, 6), perm=[1, 0]))
    numbers = make.node("Constant", value_floats=[0.5, 1.0, 1.5, 2.0, 2.5])
    x = make.node("Mul", make.node("Relu", x), numbers)
    x = make.node("Mul", x, make.node("Constant", value_float=0.7))
    make.node("Gemm", x, make.node("Reshape", make.weights(15), make.constant([5, 3])), output="y")
    quantized(make.model((8,)), rows(40, (8,)), 3)


def test_sizes_that_are_computed_are_whole_numbers() -> None:
    make = Maker(3)
    x = make.node("Conv", "x", make.weights(4, 2, 3, 3), pads=[1] * 4)
    size = make.node("Gather", make.node("Shape", x), make.constant([0]), axis=0)
    twice = make.node("Mul", size, make.constant([2]))
    flat = make.node("Concat", make.node("Div", twice, make.constant([2])),
                     make.constant([-1]), axis=0)  # fmt: skip
    make.node("Gemm", make.node("Reshape", x, flat), make.weights(64, 3), output="y")
    quantized(make.model((2, 4, 4)), rows(30, (2, 4, 4)), 2)


@pytest.mark.parametrize("shape", [(4, 1), (4, 4)])
def test_a_bias_by_row_is_no_bias_by_neuron(shape: tuple[int, ...]) -> None:
    make = Maker(4)
    bias = make.constant(make.rng.standard_normal(shape).astype(np.float32))
    x = make.node("Gemm", "x", make.weights(6, 4), bias)
    make.node("Gemm", make.node("Relu", x), make.weights(4, 3), output="y")
    model = make.model((6,))
    X = rows(4, (6,))
    graph = read_model(model)
    assert len(graph.layers) == 1
    np.testing.assert_allclose(run(graph, X)["y"], by_runtime(model, X)["y"], atol=1e-5)


def test_a_normalization_along_a_sequence_is_not_folded() -> None:
    make = Maker(5)
    x = make.node("MatMul", "x", make.weights(8, 5))
    rest = [make.constant((make.rng.uniform(0.5, 2.0, 5)).astype(np.float32)) for _ in range(4)]
    x = make.node("Relu", make.node("BatchNormalization", x, *rest))
    make.node("MatMul", x, make.weights(5, 3), output="y")
    quantized(make.model((5, 8), rank=3), rows(30, (5, 8)), 2)


def test_every_output_of_the_model_stays() -> None:
    make = Maker(6)
    x = make.node("MatMul", "x", make.weights(8, 6), output="product")
    x = make.node("Relu", make.node("Add", x, make.weights(6)))
    make.node("MatMul", x, make.constant(np.ones((6, 3), np.float32), "table"), output="y")
    model = make.model((8,))
    for name, shape in (("product", ["n", 6]), ("table", [6, 3])):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    quantized(model, rows(40, (8,)), 2)


def test_names_that_the_file_would_take_may_be_the_model_s() -> None:
    make = Maker(7)
    first = make.constant(make.rng.standard_normal((8, 6)).astype(np.float32), "_l0.w4")
    x = make.node("Relu", make.node("Gemm", "x", first, output="_0"), output="_l1.w4")
    make.node("Gemm", x, make.weights(6, 3), output="y")
    quantized(make.model((8,)), rows(40, (8,)), 2)


def test_weights_that_are_all_zero_are_quantized() -> None:
    make = Maker(8)
    x = make.node("Relu", make.node("Gemm", "x", make.weights(8, 6)))
    zero = make.constant(np.zeros((6, 3), np.float32))
    make.node("Add", make.node("Gemm", x, zero), make.node("Gemm", x, make.weights(6, 3)),
              output="y")  # fmt: skip
    made = quantized(make.model((8,)), rows(40, (8,)), 3)
    assert made.layers[1].error == 0.0


@pytest.mark.parametrize("method", ["kbest", "adaquant", "rtn"])
def test_a_dead_channel_of_a_depthwise_convolution_is_no_fault(method: str) -> None:
    make = Maker(9)
    bias = make.constant(np.array([0.1, -100.0, 0.2], np.float32))
    x = make.node("Relu", make.node("Conv", "x", make.weights(3, 2, 3, 3), bias, pads=[1] * 4))
    x = make.node("Conv", x, make.weights(3, 1, 3, 3), group=3, pads=[1] * 4)
    pooled(make, x, 3)
    X = rows(20, (2, 4, 4))
    made = quantized(make.model((2, 4, 4)), X, 3, method=method, certify="scale", most_nodes=20_000)
    for name, certificate in made.certificates.items():
        verify_layer(certificate, *made.rows[name])
    with pytest.raises(InputError, match="layer Gemm2: the Gram matrix of its inputs is singular"):
        quantize(dead(), rows(20, (6,)), certify="none")


def dead() -> onnx.ModelProto:
    make = Maker(10)
    x = make.node("Gemm", "x", make.weights(6, 4), make.constant(np.full(4, -100, np.float32)))
    make.node("Gemm", make.node("Relu", x), make.weights(4, 3), output="y")
    return make.model((6,))


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    X, path, outside = rows(100, (40,)), tmp_path / "net.onnx", mlp((40, 30, 4))
    onnx.save(outside, path, save_as_external_data=True, location="weights.bin", size_threshold=64)
    assert (tmp_path / "weights.bin").is_file()
    made = quantize(path, X, 4.0, (4,), method="rtn", certify="none")
    same = quantize(mlp((40, 30, 4)), X, 4.0, (4,), method="rtn", certify="none")
    assert made.model.SerializeToString() == same.model.SerializeToString()
    with pytest.raises(InputError, match="in a file of their own"):
        quantize(outside, X)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"net\.onnx: not an ONNX model|cannot be read"):
        quantize(path, X)


def test_constants_in_a_file_of_their_own_are_not_looked_for_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker(11)
    x = make.node("MatMul", "x", make.weights(6, 4))
    two = numpy_helper.from_array(np.full(4, 2, np.float32), "two")
    make.node("Mul", x, make.node("Constant", value=two), output="y")
    model = make.model((6,))
    # Of these only raw bytes go to the other file.
    (weights,) = model.graph.initializer
    values = numpy_helper.to_array(weights)
    kind = TensorProto.FLOAT
    weights.CopyFrom(helper.make_tensor(weights.name, kind, values.shape, values.ravel()))
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data",
              size_threshold=0, convert_attribute=True)  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert read_model(Path("net.onnx")).layers
    with pytest.raises(InputError, match="in a file of their own"):
        read_model(Path("net.onnx").read_bytes())


def test_what_a_model_says_of_itself_and_its_own_functions_stay() -> None:
    model = mlp()
    helper.set_model_props(model, {"author": "somebody"})
    model.doc_string, model.model_version = "of pears", 7
    twice = [helper.make_node("Add", ["a", "a"], ["b"])]
    function = helper.make_function("own", "Twice", ["a"], ["b"], twice, model.opset_import)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[-1].output[0] = "half"
    model.graph.node.append(helper.make_node("Twice", ["half"], ["y"], domain="own"))
    made = quantized(model, rows(40, (12,)), 3).model
    assert {one.key: one.value for one in made.metadata_props} == {"author": "somebody"}
    assert (made.doc_string, made.model_version) == ("of pears", 7)


def test_nodes_of_other_domains_are_none_of_onnx_s() -> None:
    make = Maker(12)
    x = make.node("Relu", make.node("Gemm", "x", make.weights(6, 4)))
    make.node("Gemm", x, make.weights(4, 3), output="y")
    model = make.model((6,))
    model.graph.node[-1].domain = "own"
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert [layer.source for layer in read_model(model).layers] == ["x"]


def test_an_input_without_a_shape_is_a_line() -> None:
    model = mlp()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(InputError, match="does not say the shape of its input"):
        read_model(model)


def test_layers_of_a_model_keep_their_names_beside_constants() -> None:
    model = mlp((6, 5, 3))
    for node in model.graph.node:
        node.name = ""
    weights = model.graph.initializer[0]
    given = numpy_helper.to_array(weights)
    node = helper.make_node("Constant", [], [weights.name], value=numpy_helper.from_array(given))
    model.graph.node.insert(0, node)
    del model.graph.initializer[0]
    assert [layer.name for layer in read_model(model).layers] == ["gemm1", "gemm3"]
