"""Training quantized networks with certificates of global optimality."""
