"""Moment hierarchies: bounds and roundings of problems over signs and values."""
