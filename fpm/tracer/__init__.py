"""The tracer: a process of its own that reads the stacks of others by ptrace(2); only it imports python-ptrace.

The master executes `python -m fpm.tracer` when the first stack is wanted and gives it one task after another. What it
reads comes from processes that nobody trusts.
"""

FD_CHANNEL = 3
"""SOCK_SEQPACKET to the master; end of file: the master is gone, and so must this process be."""
