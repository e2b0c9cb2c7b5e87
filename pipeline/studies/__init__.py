"""The studies that a sweep can run, a room each; `kind:` in the YAML is the room's name."""

__all__ = ["bell", "csp", "distributed", "quantization", "robustness", "training"]
