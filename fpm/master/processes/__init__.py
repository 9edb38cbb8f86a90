"""Making processes and learning how they ended."""
