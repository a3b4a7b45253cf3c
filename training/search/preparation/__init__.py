"""Prepare a table for the search: its plan, link, folds, groups, additive model, pairs and curves."""
