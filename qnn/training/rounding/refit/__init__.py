"""The second layer refitted: an l1 problem for each loss."""
