"""Notice cells, values and rows of a table that are not what they seem."""
