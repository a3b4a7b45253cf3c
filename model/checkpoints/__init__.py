"""Save and load models, on disk and behind URLs."""
