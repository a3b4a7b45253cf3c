"""The mathematics: tridiagonal spectral models, their eigensolvers and explanations."""
