"""What the processes say to each other, as values with a wire form. Pure."""
