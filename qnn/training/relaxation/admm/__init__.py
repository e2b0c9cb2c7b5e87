"""The relaxation by ADMM on the symmetric reduction."""
