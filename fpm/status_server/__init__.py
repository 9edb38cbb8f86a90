"""The status process: answers for all pools over HTTP and FastCGI, without the workers and without rights.

The master executes `python -m fpm.status_server` and gives it listening sockets and, on request, snapshots; it knows
nothing else. What comes from the network is parsed here, never in the master.
"""

FD_CHANNEL = 3
"""SOCK_SEQPACKET to the master; end of file: the master is gone, and so must this process be."""
