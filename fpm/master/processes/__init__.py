"""Starts processes and learns how they ended."""
