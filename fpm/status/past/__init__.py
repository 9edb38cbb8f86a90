"""The past of pools: what was counted of late, points of six hours, marks; as values, in a file, on the wire. Pure."""
