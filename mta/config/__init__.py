"""The configuration: what can be set (settings), how files become that (load), what has no effect yet (in_force)."""
