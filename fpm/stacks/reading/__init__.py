"""Reads the Python stacks of another process from its memory. Pure."""
