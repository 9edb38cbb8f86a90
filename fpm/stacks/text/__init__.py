"""The slow log: entries as values, as text and as JSON, read back and grouped. Pure."""
