"""The store's texts as what delivery asks for: policies of MTA-STS, and counts for reports about TLS."""

from datetime import date

from mta.delivery.mta_sts import KeptPolicy
from mta.delivery.tls_report import DomainDay
from mta.storage.tls import Counted, TlsBook


class Policies:
    """A `PolicyStore`."""

    def __init__(self, book: TlsBook) -> None:
        self._book = book

    async def all(self) -> tuple[KeptPolicy, ...]:
        """Return all that have not expired."""
        return tuple(map(KeptPolicy.from_json, await self._book.policies()))

    async def get(self, domain: str) -> KeptPolicy | None:
        """Return a domain's policy."""
        text = await self._book.policy(domain)
        return None if text is None else KeptPolicy.from_json(text)

    async def put(self, kept: KeptPolicy) -> None:
        """Keep a policy in place of the domain's last one."""
        await self._book.put_policy(kept.domain, kept.to_json(), kept.expires_at)


class Days:
    """A `TallyStore`."""

    def __init__(self, book: TlsBook) -> None:
        self._book = book

    async def add(self, days: tuple[DomainDay, ...]) -> None:
        """Add each to what is kept of its day and domain."""
        await self._book.add([Counted(day.day, day.domain, day.to_json()) for day in days], _plus)

    async def before(self, day: date) -> tuple[DomainDay, ...]:
        """Return what is kept of earlier days."""
        return tuple(map(DomainDay.from_json, await self._book.before(day)))

    async def remove(self, day: date, domain: str) -> None:
        """Forget one."""
        await self._book.remove(day, domain)


def _plus(one: str, other: str) -> str:
    return DomainDay.from_json(one).plus(DomainDay.from_json(other)).to_json()
