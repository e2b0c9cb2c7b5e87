"""The best networks and their certificates in MLflow."""

__all__ = [
    "aliases",
    "loaded_model",
    "model",
    "moved",
    "networks",
    "run",
    "store",
    "study_run",
    "sweep_files",
    "text",
    "tracker",
    "versions",
]
