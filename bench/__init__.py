"""Benchmarks that put pyfpm beside its peers on this machine: `make bench`."""
