"""From a new configuration to new generations: planned, proved, then swapped."""
