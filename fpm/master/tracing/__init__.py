"""Stacks of workers: who takes them, and the slow log that they are written to."""
