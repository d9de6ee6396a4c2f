"""How much one worker has in hand, and how many attempts may be under way at once, in all and to one site.

A site begins with a few places and gets one more with each answer, up to its window: hosts that hang keep few. Rates,
and limits of sources, have their place here too, once there are any.
"""

from dataclasses import dataclass
from datetime import timedelta

from mta.queue.lanes import BULK_WINDOW


@dataclass(frozen=True, slots=True)
class Pace:
    """What one worker allows itself."""

    per_site: int = 20
    """Attempts at once to one site, each on a connection of its own."""
    first_places: int = 5
    """Attempts at once to a site that has not answered yet."""
    at_once: int = 500
    """Attempts in all; bulk gets three quarters of them at most."""
    window: int = 2000
    """Deliveries held in memory in all."""
    octets: int = 256 * 1024 * 1024
    """Octets of large messages that attempts may have in memory at once."""
    batch: int = 200
    """Deliveries leased in one transaction, at most."""
    trouble_pause: timedelta = timedelta(seconds=1)
    """How long a store that failed is left alone."""

    @property
    def bulk_at_once(self) -> int:
        """Attempts of bulk mail in all."""
        return max(1, int(self.at_once * BULK_WINDOW))

    def next_batch(self, batch: int, claimed: int, in_vain: int) -> int:
        """Return how many to claim next, after a claim of `batch` of which some came back at once, as their sites are
        full: half as many when that was much, twice as many when it was nothing."""
        if in_vain * 4 > claimed:
            return max(min(10, self.batch), batch // 2)
        return min(self.batch, batch * 2) if not in_vain else batch
