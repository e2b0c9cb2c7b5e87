"""From a table as people have it to the matrix that a solver sees, and back to a label."""

__all__ = ["columns", "encoders", "preprocessing", "scalings", "statistics", "tables", "targets"]
