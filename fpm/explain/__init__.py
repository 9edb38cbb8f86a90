"""What is wrong with a pool, since when, for whom and why: facts, findings, and a paragraph in plain words. Pure."""
