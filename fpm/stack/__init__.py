"""Python stacks of another process: the interpreter's structures by calibrated offsets, and the result as values."""
