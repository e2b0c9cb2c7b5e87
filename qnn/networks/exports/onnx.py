"""A network as an ONNX model, its preprocessing inside; onnxruntime runs it.

Inputs: `X`, float64 (n, d), where the network has no preprocessing. Otherwise `numbers`, float64
(n, k), the raw numeric columns in the layout's order, and, where the layout has any, `categories`,
strings (n, c), the raw categorical ones. The names of both are in the model's metadata. A missing
number is NaN, a missing category the empty string or a word that says so; a network that refuses
them answers with the score NaN. Outputs: `score`, float64
(n,) or (n, C), `prediction`, labels (n,) or numbers in the targets' units, of that shape, and,
where there are categorical columns, `unseen`, int64 (n,): how many of a row's no training row has.

All arithmetic is float64, so that scores agree with `QuantizedNetwork.scores` but for the order in
which sums are taken; on thermometer bits the neurons' outputs are the same integers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn.errors import InputError
from qnn.features.encoders import QuantileToNormal, Thermometer
from qnn.features.preprocessing import Preprocessing
from qnn.features.scalings import SCALINGS
from qnn.features.targets import TargetCoding
from qnn.networks.alphabets import get_alphabet
from qnn.networks.quantized import QuantizedNetwork

if TYPE_CHECKING:
    import onnx

OPSET, ML_OPSET = 28, 4
IR_VERSION = 12


def to_onnx(network: QuantizedNetwork) -> bytes:
    """The model's bytes.

    Raises InputError where the package onnx is not installed, and for labels that are not text,
    numbers or booleans.
    """
    graph = _Graph()
    preprocessing = network.preprocessing
    inputs = {"X": (graph.double, network.d)}
    features, names = "X", {"columns": [f"x{j}" for j in range(network.d)]}
    if preprocessing is not None:
        inputs, names = _inputs(graph, preprocessing)
        features = _features(graph, preprocessing)
    score = _score(graph, network, features)
    if preprocessing is not None and preprocessing.layout.missing == "refuse":
        missing = _missing(graph, preprocessing, bool(network.alpha.shape[1:]))
        score = graph.node("Where", missing, graph.constant(np.nan), score)
    prediction, kind = _prediction(graph, preprocessing, score)
    graph.node("Identity", score, output="score")
    graph.node("Identity", prediction, output="prediction")
    scores = ["n", *network.alpha.shape[1:]]
    labels = preprocessing is not None and preprocessing.classes is not None
    outputs = {
        "score": (graph.double, scores),
        "prediction": (kind, ["n"] if labels else scores),
    }
    if preprocessing is not None and "categories" in names:
        graph.node("Identity", _unseen(graph, preprocessing), output="unseen")
        outputs["unseen"] = (graph.onnx.TensorProto.INT64, ["n"])
    return graph.model(inputs, outputs, names)


class _Graph:
    """Nodes and constants under construction."""

    def __init__(self) -> None:
        try:
            import onnx
        except ImportError:
            raise InputError(
                "the package onnx is not installed: pip install 'qnn-sdp[export]'"
            ) from None
        self.onnx = onnx
        self.double = onnx.TensorProto.DOUBLE
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: Any) -> str:
        array = np.asarray(values)
        name = f"c{len(self.constants)}"
        if array.dtype.kind in "UO":
            flat = [str(text).encode() for text in array.ravel()]
            tensor = self.onnx.helper.make_tensor(
                name, self.onnx.TensorProto.STRING, array.shape, flat
            )
        else:
            tensor = self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.constants.append(tensor)
        return name

    def model(
        self,
        inputs: dict[str, tuple[int, int]],
        outputs: dict[str, tuple[int, list[Any]]],
        names: dict[str, list[str]],
    ) -> bytes:
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes,
            "qnn",
            [helper.make_tensor_value_info(k, t, ["n", d]) for k, (t, d) in inputs.items()],
            [helper.make_tensor_value_info(k, t, shape) for k, (t, shape) in outputs.items()],
            self.constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[
                helper.make_opsetid("", OPSET),
                helper.make_opsetid("ai.onnx.ml", ML_OPSET),
            ],
            ir_version=IR_VERSION,
            producer_name="qnn-sdp",
        )
        listed = {key: json.dumps(value, ensure_ascii=False) for key, value in names.items()}
        helper.set_model_props(model, listed)
        self.onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


def _inputs(
    graph: _Graph, preprocessing: Preprocessing
) -> tuple[dict[str, tuple[int, int]], dict[str, list[str]]]:
    kept = preprocessing.layout.kept
    numbers = [column.name for column in kept if column.categories is None]
    categories = [column.name for column in kept if column.categories is not None]
    types = {"numbers": graph.double, "categories": graph.onnx.TensorProto.STRING}
    names = {"numbers": numbers, "categories": categories}
    names = {key: value for key, value in names.items() if value}
    return {key: (types[key], len(value)) for key, value in names.items()}, names


def _features(graph: _Graph, preprocessing: Preprocessing) -> str:
    """The (n, d) matrix that the network reads."""
    layout = preprocessing.layout
    blocks = []
    numeric = text = 0
    for column, value in zip(layout.kept, preprocessing.fill, strict=True):
        if column.categories is None:
            raw = graph.node("Gather", "numbers", graph.constant([numeric]), axis=1)
            if layout.missing == "impute":
                fill = graph.constant(np.array([[value]], dtype=np.float64))
                raw = graph.node("Where", graph.node("IsNaN", raw), fill, raw)
            blocks.append(_encoded(graph, preprocessing, numeric, raw))
            numeric += 1
        else:
            raw = graph.node("Gather", "categories", graph.constant([text]), axis=1)
            if layout.missing == "impute" and value is not None:
                words = _words(preprocessing, column.categories)
                raw = graph.node(
                    "Where", _is_any(graph, raw, words), graph.constant([[value]]), raw
                )
            blocks.append(_one_hot(graph, column.categories, raw, layout.scaling))
            text += 1
    features = graph.node("Concat", *blocks, axis=1)
    if SCALINGS[layout.scaling].standardized:
        features = graph.node("Sub", features, graph.constant([preprocessing.means]))
        features = graph.node("Div", features, graph.constant([preprocessing.scales]))
    if layout.clip is not None:
        limits = (graph.constant(np.float64(-layout.clip)), graph.constant(np.float64(layout.clip)))
        features = graph.node("Clip", features, *limits)
    if not layout.bias:
        return features
    pads = graph.constant(np.array([0, 0, 0, 1]))
    return graph.node("Pad", features, pads, graph.constant(np.float64(layout.bias)))


def _unseen(graph: _Graph, preprocessing: Preprocessing) -> str:
    """How many categories of each row no training row has, int64 (n,)."""
    layout = preprocessing.layout
    kept = [column.categories for column in layout.kept if column.categories is not None]
    strange = []
    for place, categories in enumerate(kept):
        raw = graph.node("Gather", "categories", graph.constant([place]), axis=1)
        words = list(dict.fromkeys((*categories, *layout.missing_words)))
        strange.append(_found(graph, raw, words, found=0, otherwise=1))
    counted = graph.node("Concat", *strange, axis=1)
    return graph.node("ReduceSum", counted, graph.constant([1]), keepdims=0)


def _missing(graph: _Graph, preprocessing: Preprocessing, keep: bool) -> str:
    """Whether anything of a row is missing, bool (n,), or (n, 1) where the axis is kept."""
    numeric = text = 0
    counts = []
    for column in preprocessing.layout.kept:
        if column.categories is None:
            raw = graph.node("Gather", "numbers", graph.constant([numeric]), axis=1)
            absent = graph.node("IsNaN", raw)
            counts.append(graph.node("Cast", absent, to=graph.onnx.TensorProto.INT64))
            numeric += 1
        else:
            raw = graph.node("Gather", "categories", graph.constant([text]), axis=1)
            words = _words(preprocessing, column.categories)
            counts.append(_found(graph, raw, words, found=1, otherwise=0))
            text += 1
    counted = graph.node("Concat", *counts, axis=1)
    total = graph.node("ReduceSum", counted, graph.constant([1]), keepdims=int(keep))
    return graph.node("Greater", total, graph.constant(0))


def _words(preprocessing: Preprocessing, categories: tuple[str, ...]) -> list[str]:
    """What says "missing" in a column: no category of its own does."""
    return [word for word in preprocessing.layout.missing_words if word not in categories]


def _is_any(graph: _Graph, raw: str, words: list[str]) -> str:
    """Whether strings (n, 1) are any of the words, bool (n, 1)."""
    found = _found(graph, raw, words, found=1, otherwise=0)
    return graph.node("Cast", found, to=graph.onnx.TensorProto.BOOL)


def _found(graph: _Graph, raw: str, words: list[str], found: int, otherwise: int) -> str:
    """A number for strings (n, 1) that are any of the words, and for the others, int64 (n, 1)."""
    return graph.node(
        "LabelEncoder",
        raw,
        domain="ai.onnx.ml",
        keys_strings=words,
        values_int64s=[found] * len(words),
        default_int64=otherwise,
    )


def _encoded(graph: _Graph, preprocessing: Preprocessing, index: int, raw: str) -> str:
    """A raw numeric column (n, 1) through its encoder."""
    encoder = preprocessing.encoder
    if isinstance(encoder, Thermometer):
        above = graph.node("GreaterOrEqual", raw, graph.constant([list(encoder.thresholds[index])]))
        return graph.node("Where", above, graph.constant(1.0), graph.constant(-1.0))
    if isinstance(encoder, QuantileToNormal):
        knots = np.array(encoder.knots[index])
        low, high = graph.constant(knots[0]), graph.constant(knots[-1])
        inside = graph.node("Clip", raw, low, high)
        passed = graph.node("GreaterOrEqual", inside, graph.constant(knots[None, 1:]))
        counted = graph.node("Cast", passed, to=graph.onnx.TensorProto.INT64)
        left = graph.node("ReduceSum", counted, graph.constant([1]), keepdims=1)
        if len(knots) == 1:
            return graph.node("Mul", raw, graph.constant(0.0))
        at, score, slope = (
            graph.node("Gather", graph.constant(np.array(table)), left)
            for table in (knots, encoder.scores[index], encoder.slopes[index])
        )
        step = graph.node("Mul", graph.node("Sub", inside, at), slope)
        return graph.node("Add", score, step)
    return raw


def _one_hot(graph: _Graph, categories: tuple[str, ...], raw: str, scaling: str) -> str:
    coded = graph.node(
        "OneHotEncoder", raw, domain="ai.onnx.ml", cats_strings=list(categories), zeros=1
    )
    shape = graph.constant([-1, len(categories)])
    flat = graph.node("Cast", graph.node("Reshape", coded, shape), to=graph.double)
    if scaling != "thermometer":
        return flat
    # 0 and 1 to −1 and +1, exactly.
    doubled = graph.node("Mul", flat, graph.constant(2.0))
    return graph.node("Sub", doubled, graph.constant(1.0))


def _score(graph: _Graph, network: QuantizedNetwork, features: str) -> str:
    divisor = get_alphabet(network.alphabet).divisor if network.V is None else 1

    def products(weights: np.ndarray) -> str:
        numbers = graph.node("Cast", graph.constant(weights), to=graph.double)
        if divisor != 1:
            numbers = graph.node("Div", numbers, graph.constant(float(divisor)))
        return graph.node("MatMul", features, numbers)

    t = products(network.U)
    if network.V is not None:
        hidden = graph.node("Mul", t, products(network.V))
    else:
        a, b, c = (graph.constant(value) for value in network.polynomial or (0.0, 0.0, 0.0))
        inner = graph.node("Add", graph.node("Mul", t, a), b)
        hidden = graph.node("Add", graph.node("Mul", inner, t), c)
    parts, factor = network.summed
    total = graph.node("MatMul", hidden, graph.constant(parts))
    return graph.node("Mul", total, graph.constant(factor))


def _prediction(graph: _Graph, preprocessing: Preprocessing | None, score: str) -> tuple[str, int]:
    """The output `prediction` and its type."""
    if preprocessing is None:
        return score, graph.double
    target = preprocessing.target
    if target.classes is None:
        scaled = graph.node("Mul", score, graph.constant(target.scale))
        return graph.node("Add", scaled, graph.constant(target.offset)), graph.double
    labels = np.array(target.classes)
    types = graph.onnx.TensorProto
    kinds = {"U": types.STRING, "i": types.INT64, "f": types.DOUBLE, "b": types.BOOL}
    if labels.dtype.kind not in kinds:
        raise InputError(f"labels {target.classes} have no type in ONNX: recode the target")
    if target.pairs:
        score = _class_scores(graph, target, score)
    if target.shape:
        # The first of equal scores, as `decode` takes it.
        index = graph.node("ArgMax", score, axis=1, keepdims=0, select_last_index=0)
    else:
        above = graph.node("Greater", score, graph.constant(0.0))
        index = graph.node("Cast", above, to=types.INT64)
    return graph.node("Gather", graph.constant(labels), index), kinds[labels.dtype.kind]


def _class_scores(graph: _Graph, target: TargetCoding, score: str) -> str:
    """`TargetCoding.class_scores` of pairs: outputs (n, C(C−1)/2) to (n, C)."""
    first, second = np.eye(len(target.classes or ()))[target.pair_codes.T]
    lost = graph.node("MatMul", graph.node("Relu", score), graph.constant(first))
    other = graph.node("Relu", graph.node("Neg", score))
    lost_too = graph.node("MatMul", other, graph.constant(second))
    return graph.node("Neg", graph.node("Add", lost, lost_too))
