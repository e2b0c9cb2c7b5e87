"""What a network is: affine layers with ReLU between them, and where they are read from."""

from qnn.networks.from_onnx import read_onnx
from qnn.networks.layered import LayeredNetwork

__all__ = ["LayeredNetwork", "read_onnx"]
