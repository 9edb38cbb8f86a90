"""Files by their paths: what pyfpm's own processes, which are usually root's, may do where, and how they do it."""
