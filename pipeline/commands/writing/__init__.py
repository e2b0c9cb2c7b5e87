"""Where commands write: what is refused before any work, and folders that appear when complete."""

__all__ = ["folders", "places"]
