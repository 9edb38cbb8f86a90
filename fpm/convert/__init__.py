"""The words of other servers, and their configuration files as pool files of ours; a table for each. Pure."""
