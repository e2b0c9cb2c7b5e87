"""Scheduled retraining: look, decide, train, pass the gates, promote, and back again.

Data flows one way: partitions → decision → window → sweep → gates → aliases → state. Whatever is
killed on the way is done again by the next run of the same command.
"""

__all__ = [
    "champion",
    "decision",
    "drift",
    "gates",
    "lease",
    "partitions",
    "record",
    "retention",
    "run",
    "state",
    "window",
]
