"""Fit additive models, and find pairs and finer knots by them."""
