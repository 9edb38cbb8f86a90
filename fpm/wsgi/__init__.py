"""WSGI: environ, input and response. Pure."""
