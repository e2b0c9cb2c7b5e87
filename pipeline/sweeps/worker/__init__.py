"""What a Ray task does: a path of β, or the join of several outputs."""

__all__ = ["arms", "join", "path", "rows"]
