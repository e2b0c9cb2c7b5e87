"""What a network is: quantized, with its alphabets, activations, atoms and exports; or layered."""

from qnn.networks.from_onnx import read_onnx
from qnn.networks.layered import LayeredNetwork

__all__ = ["LayeredNetwork", "read_onnx"]
