"""The best networks and their certificates in MLflow."""
