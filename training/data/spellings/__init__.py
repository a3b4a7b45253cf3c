"""Infer how the texts of a column spell numbers and dates."""
