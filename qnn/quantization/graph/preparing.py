"""An ONNX model made plainer before it is read: constants computed, shapes known, pads in numbers.

Exporters leave weights behind nodes (a transposed matrix, half precision with a Cast, a shared
initializer behind Identity) and say "same" where a convolution's pads are meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn.networks.onnx_files import OWN_DOMAINS, constant_of
from qnn.networks.windows import with_pads

if TYPE_CHECKING:
    import onnx

Array = np.ndarray
#: sizes of a tensor's axes by its name, None where a size is not known
Shapes = dict[str, tuple[int | None, ...]]

# Of constants alone these are computed once, here.
_COMPUTED = frozenset(
    ("Cast", "Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Concat",
     "Slice", "Gather", "Add", "Sub", "Mul", "Div", "Sqrt", "Reciprocal", "Neg")
)  # fmt: skip
_PADDED = ("Conv", "MaxPool", "AveragePool")


def shapes_of(proto: onnx.ModelProto, onnx: Any) -> Shapes:
    """The shapes that follow from the input's, of the tensors for which they do."""
    try:
        graph = onnx.shape_inference.infer_shapes(proto).graph
    except Exception:  # onnx raises kinds of its own; nothing is known then
        graph = proto.graph
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
            for dim in value.type.tensor_type.shape.dim
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def computed_constants(
    nodes: Iterable[Any], constants: dict[str, Array], onnx: Any
) -> dict[int, Any]:
    """The nodes that are left once those that only constants reach are computed, by their place.

    The values are added to `constants`, by name.
    """
    left = {}
    for place, node in enumerate(nodes):
        value = None
        if node.op_type == "Constant" and node.domain in OWN_DOMAINS:
            value = constant_of(node)
        elif _computable(node, constants):
            value = _evaluated(node, constants)
        if value is None:
            left[place] = node
        else:
            constants[node.output[0]] = value
    return left


def _computable(node: Any, constants: dict[str, Array]) -> bool:
    given = [name for name in node.input if name]
    known = bool(given) and all(name in constants for name in given)
    computed = node.op_type in _COMPUTED and node.domain in OWN_DOMAINS
    return known and computed and len(node.output) == 1


def _evaluated(node: Any, constants: dict[str, Array]) -> Array | None:
    from onnx.reference import ReferenceEvaluator

    feeds = {name: constants[name] for name in node.input if name}
    try:
        return np.asarray(ReferenceEvaluator(node).run(None, feeds)[0])
    except Exception:  # of many kinds: the node stays, and is run with the others
        return None


def with_explicit_pads(node: Any, shapes: Shapes, constants: dict[str, Array], onnx: Any) -> Any:
    """The node, with its pads in numbers where it is a convolution or pool and has `auto_pad`."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type not in _PADDED:
        return node
    weights = constants.get(node.input[1]) if node.op_type == "Conv" else None
    kernel = given.get("kernel_shape") or (() if weights is None else weights.shape[2:])
    padded = with_pads(given, tuple(kernel), shapes.get(node.input[0], ())[2:])
    if padded is given:
        return node
    made = type(node)()
    made.CopyFrom(node)
    del made.attribute[:]
    made.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in padded.items())
    return made
