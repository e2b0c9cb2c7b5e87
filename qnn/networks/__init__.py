"""What a quantized network is: weights, alphabets, activations, atoms, exports."""

__all__ = [
    "activations",
    "alphabets",
    "atoms",
    "exports",
    "packing",
    "polarization",
    "quantized",
    "second_layers",
    "stacks",
]
