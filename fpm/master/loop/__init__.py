"""The event loop, what uses it, and the limits on each pool's use of it."""
