"""The daemon becomes the installed program, with everything that runs."""
