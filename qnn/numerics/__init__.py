"""Floating-point arithmetic with bounds, archives, compiled kernels: what all rooms stand on."""
