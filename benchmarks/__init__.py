"""The benchmarks: `python -m benchmarks` prints tables of time, ratio to named peers, and error."""
