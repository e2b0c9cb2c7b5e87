"""The batch pipeline: sweeps over Ray, results in Parquet, tracking in MLflow."""
