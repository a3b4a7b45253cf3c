"""Find what the first rows of a table say of its layout."""
