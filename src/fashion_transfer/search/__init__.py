"""A search for the best values: space, study, pruning. Of torch, only `callback` imports any."""
