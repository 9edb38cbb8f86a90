"""The table of directives, one module for each group. Pure."""
