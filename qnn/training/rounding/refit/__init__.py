"""The second layer refitted: an l1 problem for each loss."""

__all__ = ["lasso", "linear_program", "newton", "second_layer"]
