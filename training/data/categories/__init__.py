"""Group the categories of a feature by what they are worth."""
