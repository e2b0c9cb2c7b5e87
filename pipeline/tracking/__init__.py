"""The best networks and their certificates in MLflow."""

__all__ = ["aliases", "loaded_model", "model", "run", "store", "text", "tracker"]
