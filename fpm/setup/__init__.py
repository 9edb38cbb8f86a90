"""What a machine needs to run pyfpm as a service (directories, units, pages, completions), and where it belongs."""
