"""Outbound delivery: from a domain to its hosts, and from a host to an outcome for each recipient."""
