"""Build compiled code: vector lanes, memory, threads."""
