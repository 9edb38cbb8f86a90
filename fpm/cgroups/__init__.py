"""Control groups of version 2: where they are, what a pool's may have, and what the kernel says of it (cgroups(7))."""
