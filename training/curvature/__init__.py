"""Measure the curvature of a trained model's loss."""
