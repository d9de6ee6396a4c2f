"""How many deliveries may be under way to one site.

A fixed window for now. Limits that grow and shrink with what a site answers, rates and sources have their place here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """What one worker allows itself."""

    per_site: int = 20
    """Attempts at once to one site, each on a connection of its own."""
    per_domain: int = 500
    """Deliveries of one domain held in memory; the rest of its backlog stays in the store."""
    window: int = 2000
    """Deliveries held in memory in all."""
    batch: int = 200
    """Deliveries leased in one transaction."""
