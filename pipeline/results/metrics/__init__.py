"""What predictions are worth on rows whose targets are known, with intervals for rows to come."""

from pipeline.results.metrics.metrics import Scored, metrics

__all__ = [
    "Scored",
    "classes",
    "intervals",
    "metrics",
    "numbers",
]
