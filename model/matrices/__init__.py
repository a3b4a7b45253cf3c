"""Turn coordinates into matrices, and matrices into scores."""
