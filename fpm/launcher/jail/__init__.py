"""The world that the processes of a pool see: namespaces, root, mounts, network. Built by the launcher, as root."""
