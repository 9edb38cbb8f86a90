"""The launcher: becomes the user of a pool, then executes the interpreter of the pool."""
