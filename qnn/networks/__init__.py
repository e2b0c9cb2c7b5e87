"""What a network is: quantized, with its alphabets, activations, atoms and exports; or layered."""

from typing import TYPE_CHECKING

from qnn.registry import imported_later

if TYPE_CHECKING:
    from qnn.networks.from_onnx import read_onnx
    from qnn.networks.layered import LayeredNetwork

__all__ = [
    "LayeredNetwork",
    "activations",
    "alphabets",
    "atoms",
    "exports",
    "packing",
    "polarization",
    "quantized",
    "read_onnx",
    "second_layers",
    "stacks",
]

# A model that only predicts carries this room without the layered networks.
__getattr__ = imported_later(
    __name__,
    {
        "LayeredNetwork": "qnn.networks.layered",
        "read_onnx": "qnn.networks.from_onnx",
    },
)
