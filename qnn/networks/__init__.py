"""What a quantized network is: weights, alphabets, activations, atoms, exports."""
