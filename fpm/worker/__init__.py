"""A worker of a pool: serves FastCGI requests, one at a time."""
