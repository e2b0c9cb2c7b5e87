"""A run's folder: its files, rows, lock and summary, and their verification."""

__all__ = [
    "folder",
    "ledger",
    "lock",
    "matrices",
    "objective",
    "parts",
    "schema",
    "selection",
    "summary",
    "verification",
]
