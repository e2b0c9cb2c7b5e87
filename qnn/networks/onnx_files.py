"""ONNX models as they are read, whole, by all who read them; onnx is imported when first needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from qnn.errors import InputError

if TYPE_CHECKING:
    import onnx

Array = np.ndarray
#: Of operators that are ONNX's own.
OWN_DOMAINS = ("", "ai.onnx")
#: Before this opset Add, Sub, Mul and Div spread constants by attributes.
OLDEST_OPSET = 7


def require_onnx() -> Any:
    """The package onnx; InputError where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise InputError(
            "the package onnx is not installed: pip install 'qnn-sdp[export]'"
        ) from None
    return onnx


def load_model(model: str | os.PathLike[str] | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """The checked model of a path, bytes or ModelProto, its weights and functions in its graph.

    Weights in a file of their own are read beside the model's path. Raises InputError, one line,
    for what is no ONNX model, and for bytes or a ModelProto whose weights lie elsewhere.
    """
    onnx = require_onnx()
    if isinstance(model, onnx.ModelProto):
        return _whole(model, "the model", onnx)
    where = "the model" if isinstance(model, bytes) else str(model)
    try:
        proto = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model)
        onnx.checker.check_model(proto)
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror}); give an ONNX file") from None
    except Exception as error:  # onnx and protobuf raise many kinds
        text = " ".join(str(error).split())[:120]
        raise InputError(f"{where}: not an ONNX model ({text}); export the network again") from None
    return _whole(proto, where, onnx)


def _whole(proto: onnx.ModelProto, where: str, onnx: Any) -> onnx.ModelProto:
    """The model, if its weights are in it or were read from the files beside it.

    Functions of its own are written out as the nodes that they stand for.
    """
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(proto)):
        raise InputError(f"{where}: its weights are in a file of their own: give the path instead")
    if not proto.functions:
        return proto
    from onnx import inliner

    try:
        return inliner.inline_local_functions(proto)
    except Exception as error:  # of many kinds
        text = " ".join(str(error).split())[:120]
        raise InputError(f"{where}: its functions cannot be made nodes ({text})") from None


def _tensors(proto: onnx.ModelProto) -> Iterator[Any]:
    """The initializers, and the tensors of nodes."""
    yield from proto.graph.initializer
    for node in proto.graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def opset_of(proto: onnx.ModelProto) -> int:
    """The opset of ONNX's own operators; 0 where the model names none."""
    return max((o.version for o in proto.opset_import if o.domain in OWN_DOMAINS), default=0)


def constant_of(node: onnx.NodeProto) -> Array:
    """The value of a Constant node, in whichever attribute it stands; InputError for a sparse."""
    onnx = require_onnx()
    (attribute,) = node.attribute
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return np.asarray(onnx.numpy_helper.to_array(value))
    if isinstance(value, onnx.SparseTensorProto):
        raise InputError("a Constant node holds a sparse tensor: export it as a dense one")
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    return np.asarray(value, dtype=kinds.get(attribute.name))
