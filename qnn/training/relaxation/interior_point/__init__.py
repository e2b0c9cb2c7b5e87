"""The relaxation by a primal-dual interior point: it ends the solves on which ADMM stalls."""

__all__ = ["newton", "solve"]
