"""What this worker has in hand, under leases: renewed, looked at again just before the dot, given back.

Whatever ends this process leaves leases behind that run out by themselves.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mta.errors import StoreUnavailable
from mta.queue.lanes import Lane
from mta.queue.model import Claimed
from mta.queue.store import Store

RENEW_EVERY = timedelta(seconds=20)

_log = logging.getLogger("mta.queue")


@dataclass(slots=True, eq=False)
class Underway:
    """One delivery in the window."""

    claimed: Claimed
    lease_until: datetime
    task: asyncio.Task[None] | None = None
    past_dot: bool = False
    """From here on the attempt is not dropped: to make it again could deliver twice (RFC 1047)."""
    site: str | None = None
    """Where it went, once that is known."""

    @property
    def lane(self) -> Lane:
        """Whose turn it took."""
        return Lane(self.claimed.message.stream, self.claimed.message.account)


class Leases:
    """The leases of what is under way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.underway: dict[str, Underway] = {}

    async def renew(self) -> None:
        """Renew all of them, again and again, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY.total_seconds())
            await self.extend(list(self.underway))

    async def extend(self, ids: Sequence[str]) -> None:
        """Renew leases; drop the attempts whose lease is lost, unless they are past their dot."""
        if not ids:
            return
        try:
            ours = await self._store.extend(ids)
        except StoreUnavailable as trouble:
            # not yet lost: whoever comes to its dot looks again
            _log.error("leases could not be renewed: %s", trouble)
            return
        until = self._store.now() + self._store.lease
        for delivery_id in ids:
            one = self.underway.get(delivery_id)
            if one is None:
                continue
            if delivery_id in ours:
                one.lease_until = until
            elif one.task is not None and not one.past_dot:
                _log.warning("lost the lease of %s: its attempt is dropped", one.claimed.message.id)
                one.task.cancel()

    async def still_ours(self, one: Underway) -> bool:
        """Look at a lease a last time, and renew it if it has run out unnoticed."""
        if self._store.now() < one.lease_until:
            return True
        try:
            if one.claimed.delivery.id not in await self._store.extend([one.claimed.delivery.id]):
                return False
        except StoreUnavailable:
            return False
        one.lease_until = self._store.now() + self._store.lease
        return True

    async def all_still_ours(self, several: Sequence[Underway]) -> bool:
        """As `still_ours`, for all of a batch: what is missing one lease is missing all."""
        now = self._store.now()
        if all(now < one.lease_until for one in several):
            return True
        ids = [one.claimed.delivery.id for one in several]
        try:
            ours = await self._store.extend(ids)
        except StoreUnavailable:
            return False
        until = self._store.now() + self._store.lease
        for one in several:
            if one.claimed.delivery.id in ours:
                one.lease_until = until
        return ours.issuperset(ids)

    async def give_back(self, ids: Collection[str]) -> None:
        """Let deliveries that were not attempted be due again."""
        try:
            await self._store.release(ids)
        except StoreUnavailable as trouble:
            _log.error("a lease could not be given back and will run out by itself: %s", trouble)
