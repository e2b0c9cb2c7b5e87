"""Tools for semidefinite programs that several rooms share."""
