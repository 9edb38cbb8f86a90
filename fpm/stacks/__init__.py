"""Stacks of another process, Python's and native ones: calibrated, read, and put into text."""
