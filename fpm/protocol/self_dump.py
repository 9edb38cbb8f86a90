"""How the master asks a process of a pool for its stack by a signal, and what the answer begins and ends with."""

FORCED = 59
"""Real-time signals kill by default, so only a process that catches them may be sent them. These two are far from both
ends, where C libraries, debuggers and emulators take theirs."""
POLITE = 58
BEGIN, NUMBERS, END = b"begin\n", b"numbers\n", b"end\n"
"""Around the stacks of all threads and, after them, `ident tid` of each thread."""
