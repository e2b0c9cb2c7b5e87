"""Tools for semidefinite programs: the cone, its coordinates, diagonals that dominate."""

__all__ = ["anderson", "cone", "coordinates", "descent", "diagonal", "positive"]
