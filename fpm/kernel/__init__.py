"""What a process may be kept from asking the kernel for: system calls by seccomp(2), paths by landlock(7)."""
