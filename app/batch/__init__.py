"""Score whole files: the predictions and explanations that `eigenserve score` writes."""
