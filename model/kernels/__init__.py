"""Building blocks of compiled code: vector lanes, memory, threads."""
