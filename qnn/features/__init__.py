"""From a table as people have it to the matrix that a solver sees, and back to a label."""

__all__ = [
    "class_weights",
    "columns",
    "encoders",
    "noise",
    "preprocessing",
    "scalings",
    "statistics",
    "tables",
    "targets",
]
