"""Which MTA-STS policy applies to a domain now: looked for in DNS, got, kept, got anew before it ends (RFC 8461 §3.3).

What makes the scheme strong is the keeping: an attacker who silences DNS or HTTPS takes nothing away from who has a
policy already. Only time, or a policy with mode `none`, ends one.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from mta.clock import Clock
from mta.delivery.mta_sts import KeptPolicy, Policy, parse_txt
from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.delivery.single_flight import SingleFlight
from mta.delivery.tls_failure import TlsFailure
from mta.errors import StoreUnavailable
from mta.mail.reply import clean

LOOK_AGAIN = timedelta(minutes=5)
"""After this time DNS is asked again, and a policy that could not be got is tried again (RFC 8461 §3.3)."""
REFRESH = timedelta(days=1)
"""A kept policy is got anew about this often, or after half of its time if that is less."""

_ROUND = timedelta(minutes=10)
_AT_ONCE = 4
_REMEMBERED = 20_000

TxtLookup = Callable[[str], Awaitable[tuple[str, ...]]]
"""A name's TXT records, each with its strings joined. Raises NoSuchDomain or DnsTrouble."""


class FetchFailed(Exception):
    """A policy could not be got, or is none."""

    def __init__(self, failure: TlsFailure, why: str) -> None:
        super().__init__(clean(why))  # it may quote what a stranger serves
        self.failure = failure


class Fetcher(Protocol):
    """Gets policies."""

    async def fetch(self, domain: str) -> Policy:
        """Return what the domain's policy host serves. Raises FetchFailed."""
        ...


class PolicyStore(Protocol):
    """Keeps policies over restarts, and for other workers."""

    async def all(self) -> tuple[KeptPolicy, ...]:
        """Return all that have not expired."""
        ...

    async def get(self, domain: str) -> KeptPolicy | None:
        """Return a domain's policy."""
        ...

    async def put(self, kept: KeptPolicy) -> None:
        """Keep a policy in place of the domain's last one."""
        ...


@dataclass(frozen=True, slots=True)
class Sts:
    """What MTA-STS says of a domain."""

    policy: Policy | None = None
    """What applies. May have mode `none`, which means as much as None."""
    failure: TlsFailure | None = None
    """What is wrong with the domain's announcement, for its report; an older policy may apply all the same."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a domain."""

    sts: Sts
    until: float


class StsPolicies:
    """The policies of all domains."""

    def __init__(self, store: PolicyStore, txt: TxtLookup, fetcher: Fetcher, clock: Clock, dice: random.Random) -> None:
        self._store = store
        self._txt = txt
        self._fetcher = fetcher
        self._clock = clock
        self._dice = dice
        self._kept: dict[str, KeptPolicy] = {}
        self._looks: OrderedDict[str, _Look] = OrderedDict()
        self._flights = SingleFlight[str, Sts]()

    async def load(self) -> None:
        """Read what was kept. To be awaited once, before the first question."""
        for kept in await self._store.all():
            self._remember(kept)

    async def of(self, domain: str) -> Sts:
        """Return what applies to a domain, in lower-case A-labels. Never raises for what the domain does.

        The look that it rests on is at most `LOOK_AGAIN` old, so that before an attempt fails, and long before a
        delivery expires, an updated policy has been looked for (RFC 8461 §5.1).
        """
        look = self._looks.get(domain)
        if look is not None and self._clock.monotonic() < look.until:
            self._looks.move_to_end(domain)
            kept = self._valid(domain)
            # what was looked at holds for its five minutes, but a refresh may have brought another policy
            return look.sts if kept is None or kept.policy == look.sts.policy else Sts(kept.policy)
        return await self._flights.do(domain, lambda: self._look(domain))

    async def tend(self) -> None:
        """Call `refresh` for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(_ROUND.total_seconds())

    async def refresh(self) -> None:
        """Forget what has expired, and get anew what is due, so that no policy ends while its host is silenced for a
        moment (RFC 8461 §10.2)."""
        now = self._clock.now()
        self._kept = {domain: kept for domain, kept in self._kept.items() if kept.expires_at > now}
        due = [kept for kept in self._kept.values() if kept.refresh_at <= now]
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(kept: KeptPolicy) -> None:
            async with places:
                try:
                    await self._fetch(kept.domain, kept.id)
                except FetchFailed:
                    # a failure is told where mail is sent; here, the next try is put off
                    self._kept[kept.domain] = self._later(kept)

        async with asyncio.TaskGroup() as group:
            for kept in due:
                group.create_task(one(kept))

    async def _look(self, domain: str) -> Sts:
        kept = self._valid(domain) or await self._from_store(domain)
        sts = await self._discover(domain, kept)
        self._looks[domain] = _Look(sts, self._clock.monotonic() + LOOK_AGAIN.total_seconds())
        self._looks.move_to_end(domain)
        if len(self._looks) > _REMEMBERED:
            self._looks.popitem(last=False)
        return sts

    async def _discover(self, domain: str, kept: KeptPolicy | None) -> Sts:
        known = None if kept is None else kept.policy
        try:
            texts = await self._txt(f"_mta-sts.{domain}")
        except NoSuchDomain:
            texts = ()
        except DnsTrouble as trouble:
            return Sts(known, why=clean(str(trouble)))
        id = parse_txt(texts)
        if id is None:
            return Sts(known)
        if kept is not None and kept.id == id:
            return Sts(known)
        try:
            return Sts(await self._fetch(domain, id))
        except FetchFailed as failed:
            return Sts(known, failed.failure, str(failed))

    async def _fetch(self, domain: str, id: str) -> Policy:
        policy = await self._fetcher.fetch(domain)
        now = self._clock.now()
        # at a time that nobody can foretell, lest HTTPS be silenced just then
        span = min(REFRESH, policy.max_age / 2) * self._dice.uniform(0.75, 1)
        kept = KeptPolicy(domain, id, policy, now, now + span)
        self._remember(kept)
        with suppress(StoreUnavailable):  # it is in memory; the next refresh writes again
            await self._store.put(kept)
        return policy

    async def _from_store(self, domain: str) -> KeptPolicy | None:
        kept = await self._store.get(domain)
        if kept is None or kept.expires_at <= self._clock.now():
            return None
        self._remember(kept)
        return kept

    def _valid(self, domain: str) -> KeptPolicy | None:
        kept = self._kept.get(domain)
        if kept is None or kept.expires_at > self._clock.now():
            return kept
        del self._kept[domain]
        return None

    def _later(self, kept: KeptPolicy) -> KeptPolicy:
        return KeptPolicy(kept.domain, kept.id, kept.policy, kept.fetched_at, self._clock.now() + LOOK_AGAIN * 12)

    def _remember(self, kept: KeptPolicy) -> None:
        self._kept.pop(kept.domain, None)
        self._kept[kept.domain] = kept
        if len(self._kept) > _REMEMBERED:
            # the store still has it
            del self._kept[next(iter(self._kept))]
