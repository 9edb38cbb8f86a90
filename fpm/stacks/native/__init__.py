"""Native frames: a thread's C stack by the unwind tables that its program and libraries carry in memory. Pure.

Nothing but memory is read (a `Read`), so it works in a chroot, with deleted files and without rights. What is read
comes from a process that nobody trusts: every length and step is bounded, and what makes no sense ends the stack.
"""
