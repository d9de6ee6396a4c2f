"""Writes down what attempts meant, however long the store cannot: of what was forgotten, the host would be asked again.

Results are written at once; nothing is gathered here, the store commits together what comes together. While it fails no
new attempt may begin, since its result could not be kept, and what hosts have said meanwhile waits in memory and in the
journal. What a result means is decided elsewhere.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from mta.errors import Damaged, StoreUnavailable
from mta.events import Event, Observer
from mta.mail.outcome import Outcome
from mta.queue.journal import Journal
from mta.queue.model import Claimed, Content, Delivery
from mta.queue.records import Records
from mta.queue.settle import Settled, Settlement
from mta.queue.store import Store

_log = logging.getLogger("mta.queue")


class Ledger:
    """The one place where settlements are written. One for each worker."""

    def __init__(
        self, store: Store, records: Records, journal: Journal, observers: Sequence[Observer], pause: timedelta
    ) -> None:
        """`pause` is how long a store that failed is left alone."""
        self._store = store
        self._records = records
        self._journal = journal
        self._observers = observers
        self._pause = pause
        self._usable = asyncio.Event()
        self._usable.set()
        self._successes = 0
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many results wait until the store can write."""
        return self._waiting

    @property
    def usable(self) -> bool:
        """Whether the last that was heard of the store was good."""
        return self._usable.is_set()

    async def until_usable(self) -> None:
        """Wait until results can be kept."""
        await self._usable.wait()

    def failed(self, trouble: StoreUnavailable) -> None:
        """The store could not write: nothing new begins."""
        if self.usable:
            _log.error("the store fails, no new attempt begins until it can write: %s", trouble)
        self._usable.clear()

    def succeeded(self) -> None:
        """The store has written."""
        if not self.usable:
            _log.warning("the store can write again, delivery goes on")
        self._successes += 1
        self._usable.set()

    def kept(self, delivery: Delivery) -> Outcome | None:
        """Return what the next attempt of a delivery has already come to, before the store failed or we ended."""
        return self._journal.find(delivery.id, delivery.attempts + 1)

    async def write(self, settlement: Settlement, outcome: Outcome | None) -> Settled | None:
        """Make a decision durable and tell the observers; `outcome` is what a host said, if one did.

        Returns what was written. None: the lease was lost meanwhile, and another worker decides.
        """
        claimed = settlement.claimed
        original = await self._original(claimed, outcome) if settlement.notice is not None else None
        settled = self._records.of(settlement, original)
        written = await self._settle(settled, outcome)
        if outcome is not None:
            self._journal.forget(claimed.delivery.id)
        if written is None:
            _log.warning(
                "%s to %s was settled as %s, but its lease was lost: another worker decides",
                claimed.message.id,
                claimed.delivery.recipient.mailbox,
                settlement.state,
            )
            return None
        for event in written:
            for observer in self._observers:
                observer.observe(event)
        return settled

    async def _original(self, claimed: Claimed, outcome: Outcome | None) -> Content | None:
        if claimed.content is not None:
            return claimed.content
        is_kept = False
        while True:
            try:
                return await self._store.content(claimed.message.id)
            except Damaged as why:
                _log.error("%s: %s; its notification goes out without the header", claimed.message.id, why)
                return None
            except StoreUnavailable as trouble:
                if not is_kept:
                    await self._keep(claimed, outcome, trouble)
                is_kept = True
            await self._pause_for_store()

    async def _settle(self, settled: Settled, outcome: Outcome | None) -> Sequence[Event] | None:
        """Write a settlement, again and again until it is written or the lease is somebody else's.

        When the lease runs out in the meantime, the claim that finds it is ours again or another worker's, which is
        told here as a lost lease.
        """
        failed_at: int | None = None
        while True:
            try:
                written = await asyncio.shield(self._store.settle(settled))
            except StoreUnavailable as trouble:
                if failed_at is None:
                    failed_at = self._successes
                    await self._keep(settled.settlement.claimed, outcome, trouble)
                elif self._successes == failed_at:
                    # else others are written, and this one alone is not: that is no reason to stop everything
                    self.failed(trouble)
            else:
                self.succeeded()
                return written
            await self._pause_for_store()

    async def _keep(self, claimed: Claimed, outcome: Outcome | None, trouble: StoreUnavailable) -> None:
        """Stop what is new, and keep what a host said where a crash cannot take it."""
        _log.error("%s waits to be written down: %s", claimed.message.id, trouble)
        self.failed(trouble)
        if outcome is not None:
            delivery = claimed.delivery
            # to its end, even when this task is cancelled meanwhile: that is what it is for
            await asyncio.shield(self._journal.keep(delivery.id, delivery.attempts + 1, outcome))

    async def _pause_for_store(self) -> None:
        """Wait a while; when the store is usable again, what waits is written before anything new begins."""
        self._waiting += 1
        try:
            if self.usable:
                await asyncio.sleep(self._pause.total_seconds())
                return
            async with asyncio.timeout(self._pause.total_seconds()):
                await self._usable.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
