"""Write the report of a fit."""
