"""A run's folder: its files, rows, lock and summary, and their verification."""

__all__ = [
    "fitness",
    "folder",
    "ledger",
    "lock",
    "matrices",
    "measures",
    "metrics",
    "objective",
    "parts",
    "record",
    "schema",
    "selection",
    "summary",
    "verification",
]
