"""What a run has found, for a terminal, a document, a picture. Pure."""
