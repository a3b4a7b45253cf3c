"""Find changes of a row that reach a wanted prediction."""
