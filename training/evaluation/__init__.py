"""Measure models on tables."""
