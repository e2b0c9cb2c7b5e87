"""ReLU networks and their reading from ONNX, against onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy import sparse

from qnn.certificates.robustness.networks import read_network
from qnn.errors import CertificateError, InputError
from qnn.networks import LayeredNetwork, from_onnx, read_onnx
from qnn.networks import layered as layers_module
from qnn.numerics.archive import pack_arrays, unpack_arrays
from tests.qnn.robustness.cases import layered


def model(nodes, constants, shape, path, batch="n"):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "k"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(made.SerializeToString())
    return path


def same(path, shape, rng, softmax=False):
    """The network read from a file, which agrees with onnxruntime on random rows."""
    network = read_onnx(path)
    X = rng.normal(size=(20, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path))
    (wanted,) = session.run(None, {"x": X})
    scores = network.scores(X.reshape(20, -1))
    if softmax:
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores, wanted.reshape(20, -1), rtol=2e-4, atol=2e-5)
    return network


def floats(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def test_dense_layers_of_every_spelling(tmp_path):
    rng = np.random.default_rng(0)
    constants = {
        "A": floats(rng, 7, 5), "a": floats(rng, 7), "B": floats(rng, 7, 6), "b": floats(rng, 6),
        "C": floats(rng, 6, 3), "m": floats(rng, 5), "s": np.float32([2.0]), "k": floats(rng, 3),
    }  # fmt: skip
    nodes = [
        helper.make_node("Sub", ["x", "m"], ["x0"]),
        helper.make_node("Div", ["x0", "s"], ["x1"]),
        helper.make_node("Gemm", ["x1", "A", "a"], ["y1"], transB=1, alpha=0.5, beta=2.0),
        helper.make_node("Relu", ["y1"], ["z1"]),
        helper.make_node("MatMul", ["z1", "B"], ["y2"]),
        helper.make_node("Add", ["b", "y2"], ["y3"]),
        helper.make_node("Relu", ["y3"], ["z2"]),
        helper.make_node("Identity", ["z2"], ["z3"]),
        helper.make_node("Gemm", ["z3", "C"], ["y4"]),
        helper.make_node("Mul", ["y4", "k"], ["y5"]),
        helper.make_node("Sub", ["k", "y5"], ["y6"]),
        helper.make_node("Softmax", ["y6"], ["y"]),
    ]
    network = same(model(nodes, constants, (5,), tmp_path / "n.onnx"), (5,), rng, softmax=True)
    assert [W.shape for W in network.weights] == [(5, 7), (7, 6), (6, 3)]
    assert network.left_out == "Softmax"


def test_images_become_matrices(tmp_path):
    rng = np.random.default_rng(1)
    constants = {
        "K": floats(rng, 4, 2, 3, 3), "k": floats(rng, 4), "G": floats(rng, 6, 2, 2, 2),
        "scale": abs(floats(rng, 6)), "bias": floats(rng, 6), "mean": floats(rng, 6),
        "var": abs(floats(rng, 6)) + 0.1, "W": floats(rng, 6, 3), "shape": np.array([0, -1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "K", "k"], ["c1"], pads=[1, 0, 1, 2], strides=[2, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "G"], ["c2"], group=2, dilations=[2, 1]),
        helper.make_node("BatchNormalization", ["c2", "scale", "bias", "mean", "var"], ["b2"]),
        helper.make_node("Relu", ["b2"], ["r2"]),
        helper.make_node("AveragePool", ["r2"], ["p"], kernel_shape=[2, 2], pads=[0, 1, 0, 0]),
        helper.make_node("GlobalAveragePool", ["p"], ["q"]),
        helper.make_node("Reshape", ["q", "shape"], ["f"]),
        helper.make_node("MatMul", ["f", "W"], ["y"]),
    ]
    network = same(model(nodes, constants, (2, 9, 6), tmp_path / "n.onnx"), (2, 9, 6), rng)
    assert network.d == 108
    assert network.outputs == 3


@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(padding, tmp_path):
    rng = np.random.default_rng(2)
    constants = {"K": floats(rng, 3, 1, 4, 3), "s": np.array([-1, 1, 7, 5])}
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["i"]),
        helper.make_node("Conv", ["i", "K"], ["c"], auto_pad=padding, strides=[2, 2]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("Relu", ["f"], ["y"]),
    ]
    network = same(model(nodes, constants, (35,), tmp_path / "n.onnx"), (35,), rng)
    np.testing.assert_array_equal(network.weights[-1], np.eye(network.outputs))


def test_constants_may_be_nodes(tmp_path):
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Constant", [], ["W"], value=numpy_helper.from_array(floats(rng, 4, 2))),
        helper.make_node("MatMul", ["x", "W"], ["y"]),
    ]
    same(model(nodes, {}, (4,), tmp_path / "n.onnx"), (4,), rng)


def test_weights_in_a_file_of_their_own_are_those_beside_the_model(tmp_path, monkeypatch):
    kept = {}
    for seed, name in enumerate(("one", "other")):
        (tmp_path / name).mkdir()
        constants = {"W": floats(np.random.default_rng(seed), 4, 3)}
        nodes = [helper.make_node("MatMul", ["x", "W"], ["y"])]
        path = model(nodes, constants, (4,), tmp_path / name / "n.onnx")
        given = {"save_as_external_data": True, "location": "n.data", "size_threshold": 0}
        onnx.save(onnx.load(path), path, **given)
        kept[path] = constants["W"]
    for where in (tmp_path / "one", tmp_path / "other", tmp_path):
        monkeypatch.chdir(where)
        for path, W in kept.items():
            np.testing.assert_array_equal(read_onnx(path).weights[0], W)
    (tmp_path / "one" / "n.data").unlink()
    with pytest.raises(InputError, match=r"n\.onnx: ") as caught:
        read_onnx(tmp_path / "one" / "n.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [{"value_float": 2.0}, {"value_floats": [1.0, 2.0, 3.0, 4.0]}])
def test_constants_are_written_in_every_attribute(value, tmp_path):
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Constant", [], ["s"], value_ints=[-1, 4]),
        helper.make_node("Reshape", ["x", "s"], ["f"]),
        helper.make_node("Constant", [], ["c"], **value),
        helper.make_node("Mul", ["f", "c"], ["y"]),
    ]
    same(model(nodes, {}, (2, 2), tmp_path / "n.onnx"), (2, 2), rng)


def images(*nodes):
    """Nodes on images (1, 5, 5), then what makes a chain of them."""
    return [*nodes, helper.make_node("Relu", ["a"], ["y"])]


ODD = {
    "ceil_mode": images(helper.make_node(
        "AveragePool", ["x"], ["a"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)),
    "training_mode": images(helper.make_node(
        "BatchNormalization", ["x", "one", "one", "one", "one"], ["a"], training_mode=1)),
    "at random": images(helper.make_node("Dropout", ["x", "half", "true"], ["a"])),
    "2 groups": images(helper.make_node("Conv", ["x", "K"], ["a"], group=2)),
    "size of 0": images(helper.make_node("Reshape", ["x", "zero"], ["a"], allowzero=1)),
    "no operator of ONNX's": images(helper.make_node("Neg", ["x"], ["a"], domain="own")),
    "not over all scores": [helper.make_node("Softmax", ["x"], ["y"], axis=-1)],
}  # fmt: skip


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("words", ODD)
def test_attributes_that_change_a_node_are_refused_on_both_ways(words, wide, tmp_path, monkeypatch):
    one = np.ones(1, np.float32)
    constants = {
        "one": one, "half": np.float32(0.5), "true": np.array(True), "zero": np.array([0, 0, 5]),
        "K": np.ones((2, 1, 2, 2), np.float32),
    }  # fmt: skip
    path = model(ODD[words], constants, (1, 5, 5), tmp_path / "n.onnx")
    own = onnx.load(path)
    own.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(own, path)
    if wide:
        monkeypatch.setattr(from_onnx, "MOST_ENTRIES", 4)
        monkeypatch.setattr(from_onnx, "MOST_OF_IMAGES", 4)
    with pytest.raises(InputError, match=words) as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("kind", "inputs"), [("MatMul", ["x", "K"]), ("Gemm", ["x", "W", "column"])]
)
def test_constants_that_are_spread_over_the_batch_are_refused(
    kind, inputs, wide, tmp_path, monkeypatch
):
    rng = np.random.default_rng(4)
    constants = {"K": floats(rng, 5, 4, 3), "W": floats(rng, 4, 3), "column": floats(rng, 3, 1)}
    nodes = [helper.make_node(kind, inputs, ["y"])]
    path = model(nodes, constants, (4,), tmp_path / "n.onnx")
    if wide:
        monkeypatch.setattr(from_onnx, "MOST_ENTRIES", 4)
    with pytest.raises(InputError):
        read_onnx(path)


@pytest.mark.parametrize(
    ("nodes", "shape", "words"),
    [
        ([("Softmax", ["x"], "y")], (1,), "not over all scores"),
        ([("Tanh", ["x"], "y")], (3,), "node Tanh is none of a ReLU network"),
        ([("Sigmoid", ["x"], "y")], (3,), "export the scores that go into it"),
        ([("Relu", ["x"], "a"), ("Add", ["x", "a"], "y")], (3,), "no chain"),
        ([("Relu", ["x"], "a"), ("MatMul", ["a", "a"], "y")], (3,), "no chain"),
        ([("MatMul", ["x", "W"], "y")], (5,), "shapes do not fit"),
        ([("Relu", ["x"], "y")], ("k",), "give all sizes but the first"),
        ([("Relu", ["x"], "y")], (2_000_000,), "too large to be unrolled"),
    ],
)
def test_what_is_no_relu_network_is_refused_in_one_line(nodes, shape, words, tmp_path):
    made = [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes]
    path = model(made, {"W": np.ones((3, 3), np.float32)}, shape, tmp_path / "n.onnx")
    with pytest.raises(InputError, match=words) as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "n.onnx"
    with pytest.raises(InputError, match="cannot be read"):
        read_onnx(path)
    for data in (b"", b"text", bytes(1000)):
        path.write_bytes(data)
        with pytest.raises(InputError, match="ONNX") as caught:
            read_onnx(path)
        assert "\n" not in str(caught.value)


def test_a_network_keeps_through_its_file(tmp_path):
    network = layered(np.random.default_rng(4), [3, 5, 2])
    network.save(tmp_path / "n.npz")
    loaded = LayeredNetwork.load(tmp_path / "n.npz")
    assert loaded.to_bytes() == network.to_bytes()
    X = np.random.default_rng(5).normal(size=(9, 3))
    np.testing.assert_array_equal(loaded.scores(X), network.scores(X))
    assert network.hidden == 5
    damaged = bytearray(network.to_bytes())
    damaged[damaged.index(network.weights[0].tobytes())] ^= 255
    with pytest.raises(InputError):
        LayeredNetwork.from_bytes(bytes(damaged))


def test_layers_that_do_not_fit_are_refused():
    ok = np.ones((2, 3)), np.zeros(3)
    for weights, biases in (
        ((), ()), ((ok[0],), ()), ((ok[0],), (np.zeros(2),)), ((ok[0], ok[0]), (ok[1], ok[1])),
        ((ok[0] * np.nan,), (ok[1],)), ((np.zeros((0, 3)),), (ok[1],)),
    ):  # fmt: skip
        with pytest.raises(InputError, match="network: "):
            LayeredNetwork(weights, biases)
    network = LayeredNetwork((ok[0],), (ok[1],))
    arrays = unpack_arrays(network.to_bytes(), "n", "n")
    with pytest.raises(InputError, match="not a file of a layered network"):
        LayeredNetwork.from_bytes(pack_arrays(arrays | {"format": np.array([1, 1], "<i8")}))
    for X in (np.zeros(2), np.zeros((1, 3)), np.full((1, 2), np.inf)):
        with pytest.raises(InputError, match="network: X has"):
            network.scores(X)


def convolutional(rng):
    """Nodes and constants of a model on images (2, 7, 6) with everything that has a matrix."""
    constants = {
        "K": floats(rng, 6, 2, 3, 3), "k": floats(rng, 6), "L": floats(rng, 4, 3, 3, 3),
        "l": floats(rng, 4), "s": abs(floats(rng, 4)), "t": floats(rng, 4), "m": floats(rng, 4),
        "v": abs(floats(rng, 4)) + 0.1, "A": floats(rng, 4, 5), "a": floats(rng, 5),
        "c": floats(rng, 2, 1, 1),
    }  # fmt: skip
    nodes = [
        helper.make_node("Add", ["x", "c"], ["x0"]),
        helper.make_node("Conv", ["x0", "K", "k"], ["y1"], pads=[1, 1, 1, 1], strides=[2, 1]),
        helper.make_node("Relu", ["y1"], ["z1"]),
        helper.make_node(
            "AveragePool", ["z1"], ["p"], kernel_shape=[2, 2], strides=[1, 2], pads=[1, 0, 1, 1]
        ),
        helper.make_node("Conv", ["p", "L", "l"], ["y2"], group=2, auto_pad="SAME_UPPER"),
        helper.make_node("BatchNormalization", ["y2", "s", "t", "m", "v"], ["y3"]),
        helper.make_node("Relu", ["y3"], ["z2"]),
        helper.make_node("GlobalAveragePool", ["z2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "A", "a"], ["y"]),
    ]
    return nodes, constants


def test_wide_models_are_read_by_sparse_matrices_to_the_same_network(tmp_path, monkeypatch):
    rng = np.random.default_rng(12)
    path = model(*convolutional(rng), (2, 7, 6), tmp_path / "n.onnx")
    dense = same(path, (2, 7, 6), rng)
    monkeypatch.setattr(from_onnx, "MOST_OF_IMAGES", 10)
    monkeypatch.setattr(layers_module, "_LARGE", 0)
    thin = same(path, (2, 7, 6), rng)
    assert thin.sparse
    assert not dense.sparse
    for W, V in zip(dense.weights, thin.weights, strict=True):
        np.testing.assert_allclose(W, V.toarray() if sparse.issparse(V) else V, atol=1e-12)
    again = LayeredNetwork.from_bytes(thin.to_bytes())
    assert again.to_bytes() == thin.to_bytes()
    X = rng.normal(size=(3, thin.d))
    np.testing.assert_array_equal(again.scores(X), thin.scores(X))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("starts0", [0, 1]), ("starts0", [0, 3, 2, 4]), ("starts0", [1, 2, 3, 4]),
        ("indices0", [0, 1, 9, 1]), ("indices0", [0, -1, 0, 1]), ("indices0", [1, 0, 0, 1]),
        ("inputs0", 1), ("inputs0", 0), ("inputs0", 2**40), ("data0", [1.0, 2.0]),
        ("data0", [1.0, np.nan, 1.0, 1.0]), ("W0", np.ones((2, 3))),
    ],
)  # fmt: skip
def test_damaged_sparse_layers_are_refused_by_both_readers(name, value):
    W = sparse.csc_array(([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], [0, 2, 3, 4]), shape=(2, 3))
    network = LayeredNetwork((W, np.ones((3, 2))), (np.ones(3), np.ones(2)))
    arrays = unpack_arrays(network.to_bytes(), "n", "n")
    kind = arrays[name].dtype if name in arrays else float
    data = pack_arrays(arrays | {name: np.array(value, dtype=kind)})
    with pytest.raises(InputError):
        LayeredNetwork.from_bytes(data)
    with pytest.raises(CertificateError):
        read_network(data)
