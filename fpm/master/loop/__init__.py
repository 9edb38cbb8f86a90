"""The event loop, what hangs on it, and how much of it each pool may use."""
