"""Floating-point arithmetic with bounds, archives, compiled kernels: what all rooms stand on."""

__all__ = ["adam", "archive", "arguments", "batches", "compiled", "floating", "gaps", "memory"]
