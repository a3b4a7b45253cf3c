"""Turn raw rows into coordinates."""
