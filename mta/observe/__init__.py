"""Observers of events: the only place that knows log formats and metric names."""
