"""Training: data, fitting, the command line."""
