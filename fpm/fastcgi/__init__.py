"""The FastCGI protocol, without input or output. Pure."""
