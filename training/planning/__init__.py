"""Plan a fit within a budget of time and memory before any part of it is made."""
