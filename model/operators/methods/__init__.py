"""Find eigenpairs of symmetric operators by products alone."""
