"""Listening sockets of the master: opened, inherited, handed over."""
