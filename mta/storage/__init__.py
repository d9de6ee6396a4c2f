"""Stores: the queue on a database."""
