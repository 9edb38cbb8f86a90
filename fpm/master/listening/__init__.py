"""Listening sockets: made, taken over, given back."""
