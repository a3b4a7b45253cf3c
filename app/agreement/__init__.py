"""Which versions all workers of a server answer with."""
