"""Choose the bases and knots of curves."""
