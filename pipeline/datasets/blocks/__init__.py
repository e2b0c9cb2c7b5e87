"""Rows that stay where they are: Parquet row groups, read as blocks of a fixed number of rows."""

__all__ = ["quantiles", "reader", "row_groups", "statistics"]
