"""A primal-dual interior point: it ends the solves on which first-order steps stall."""
