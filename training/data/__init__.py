"""Turn tables, targets and columns into features."""
