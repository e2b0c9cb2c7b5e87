"""The batch pipeline: sweeps over Ray, results in Parquet, tracking in MLflow."""

__all__ = [
    "commands",
    "configuration",
    "datasets",
    "logs",
    "plans",
    "reports",
    "results",
    "retraining",
    "sweeps",
    "tracking",
]
