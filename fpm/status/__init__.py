"""The status of pools as values, and the pages that show it. Pure."""
