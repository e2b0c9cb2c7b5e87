"""The Ray session, its spare cores and its metrics."""

__all__ = ["metrics", "session", "spare_cores", "spare_leaves"]
