"""One pool: its supervisor, templates, workers, and how many of them there should be."""
