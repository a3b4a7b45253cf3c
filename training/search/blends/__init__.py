"""Choose which members of a search a model is made of."""
