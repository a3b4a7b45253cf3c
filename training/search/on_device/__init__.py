"""Train many members as one batch of torch tensors, on a GPU."""
