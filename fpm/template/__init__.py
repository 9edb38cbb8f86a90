"""The template of a pool: imports the application and forks workers."""
