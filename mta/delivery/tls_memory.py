"""Policies and tallies kept in memory only: what is learnt is lost at a restart, and no other worker sees it.

For tests, and for a server whose store keeps neither.
"""

from datetime import date

from mta.delivery.mta_sts import KeptPolicy
from mta.delivery.tls_report import MAX_DOMAINS, DomainDay


class PoliciesInMemory:
    """A `PolicyStore`. `StsPolicies` bounds what it asks to be kept only in its own memory, so that this one need not
    keep anything twice."""

    async def all(self) -> tuple[KeptPolicy, ...]:
        """Return nothing: there was nothing before."""
        return ()

    async def get(self, domain: str) -> KeptPolicy | None:
        """Return nothing: what is known, the caller knows."""
        return None

    async def put(self, kept: KeptPolicy) -> None:
        """Keep nothing: the caller does."""


class TalliesInMemory:
    """A `TallyStore`."""

    def __init__(self) -> None:
        self._days: dict[tuple[date, str], DomainDay] = {}

    async def add(self, days: tuple[DomainDay, ...]) -> None:
        """Add each to what is kept of its day and domain; of too many domains, nothing is kept."""
        for day in days:
            key = (day.day, day.domain)
            known = self._days.get(key)
            if known is not None:
                self._days[key] = known.plus(day)
            elif len(self._days) < MAX_DOMAINS:
                self._days[key] = day

    async def before(self, day: date) -> tuple[DomainDay, ...]:
        """Return what is kept of earlier days."""
        return tuple(one for one in self._days.values() if one.day < day)

    async def remove(self, day: date, domain: str) -> None:
        """Forget one."""
        self._days.pop((day, domain), None)
