"""Write pages for people: Markdown and HTML from the same blocks, and the comparison of two models as one."""
