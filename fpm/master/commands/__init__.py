"""The commands that arrive on the control socket."""
