"""Tools for semidefinite programs: the cone, its coordinates, diagonals that dominate."""
