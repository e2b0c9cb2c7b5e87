"""Post-training quantization that proves itself: a float ONNX network in, 2 to 8 bits out.

q = qnn.quantization.quantize("net.onnx", rows, budget=3.0)
q.save("small.onnx"); print(q.report()); q.save_certificates("proofs")
"""

from qnn.quantization.calibration import quantize
from qnn.quantization.layers.blocks import Block, QuantizedBlock, Settings, quantize_block
from qnn.quantization.layers.certify import Effort
from qnn.quantization.layers.methods import METHODS
from qnn.quantization.options import Options
from qnn.quantization.result import Quantized

__all__ = [
    "METHODS",
    "Block",
    "Effort",
    "Options",
    "Quantized",
    "QuantizedBlock",
    "Settings",
    "quantize",
    "quantize_block",
]
