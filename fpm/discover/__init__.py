"""Finds the WSGI application of a project by reading its sources; nothing is imported or executed."""
