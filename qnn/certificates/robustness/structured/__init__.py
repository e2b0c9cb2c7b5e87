"""Large ReLU networks, layer by layer: no matrix is larger than the network's own weights."""

__all__ = ["bounds", "form", "fronts"]
