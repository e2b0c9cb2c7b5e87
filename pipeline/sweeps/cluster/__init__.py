"""The Ray session, its spare cores and its metrics."""
