"""Leases as the store hands them out: the units of `claims` through the writer, with the memory of `lines`."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

from mta.clock import Clock
from mta.errors import StoreUnavailable
from mta.queue.lanes import Lane, is_paused
from mta.queue.model import Claimed, NewMessage, State, Stream
from mta.queue.settle import Settled
from mta.storage.claims import Claims, Old, PutBack, Taken, Wanted
from mta.storage.lines import Lines
from mta.storage.reading import Reader
from mta.storage.rows import from_ms
from mta.storage.writer import Writer

_MOST_STEPS = 20
"""Transactions of one claim that has found something already: what it found must not wait for the rest."""


class Leases:
    """What one worker leases and gives back."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        clock: Clock,
        claims: Claims,
        worker: int,
        beat: Callable[[sqlite3.Connection], None],
    ) -> None:
        """`beat` is called in transactions that happen all the time while the worker lives."""
        self.lines = Lines()
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._claims = claims
        self._worker = worker
        self._beat = beat
        self._turn = asyncio.Lock()
        self._old_after = ""

    async def claim(self, wanted: Wanted) -> list[Claimed]:
        """Lease what is due, in as many transactions as it takes to find it.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        claimed: list[Claimed] = []
        steps, going_on = 0, wanted.limit > 0
        async with self._turn:
            while going_on and len(claimed) < wanted.limit and (not claimed or steps < _MOST_STEPS):
                try:
                    taken = await self._step(wanted, claimed)
                except StoreUnavailable:
                    if claimed:
                        return claimed
                    raise
                claimed += taken.claimed
                going_on = taken.going_on
                steps += 1
        return claimed

    async def claim_old(self, before: Mapping[Stream, datetime], limit: int) -> list[Claimed]:
        """Lease what is too old, from a stretch of what waits.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        after = self._old_after

        def unit(connection: sqlite3.Connection) -> Old:
            return self._claims.claim_old(connection, before, limit, after, self._clock.now())

        old = await self._writer.run(unit)
        self._old_after = old.after
        return old.claimed

    async def claim_brothers(self, claimed: Claimed, limit: int) -> list[Claimed]:
        """Lease what may go in the same transaction as a delivery of ours.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        return await self._writer.run(
            lambda connection: self._claims.brothers(connection, claimed, limit, self._clock.now())
        )

    async def extend(self, ids: Collection[str]) -> frozenset[str]:
        """Renew leases; return those that are still ours.

        Raises:
            StoreUnavailable: no lease was renewed.
        """
        wanted = list(ids)

        def unit(connection: sqlite3.Connection) -> frozenset[str]:
            self._beat(connection)
            return self._claims.extend(connection, wanted, self._clock.now())

        return await self._writer.run(unit)

    async def release(self, ids: Collection[str]) -> None:
        """Give back leases of ours.

        Raises:
            StoreUnavailable: the leases stand until they run out.
        """
        wanted = list(ids)
        await self._give_back(lambda connection: self._claims.release(connection, wanted))

    async def give_back_of(self, worker: int) -> int:
        """Give back all leases of a dead worker, in steps; return how many there were.

        Raises:
            StoreUnavailable: not all were given back.
            ValueError: it is this worker.
        """
        if worker == self._worker:
            raise ValueError(f"worker {worker} is this one, and lives")
        count = 0
        while back := await self._give_back(lambda connection: self._claims.give_back_of(connection, worker)):
            count += back
        return count

    async def next_due(self) -> timedelta | None:
        """Return how long until something is due that the last claim did not see and leave, or a lease runs out.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        now, pauses, times = self._clock.now(), await self._reader.pauses(), []
        for one in await self._reader.waiting_lanes():
            if is_paused(one.lane, pauses):
                continue
            if one.due_at > now or not self.lines.passed_over(one.lane):
                times.append(one.due_at)
            elif (later := self.lines.next_due(one.lane)) is not None:
                times.append(from_ms(later))
        # what had run out by then, and is leased still, is for a domain without room
        if (lapse := await self._reader.next_lapse(self.lines.looked_at)) is not None:
            times.append(lapse)
        return max(timedelta(0), min(times) - now) if times else None

    def accepted(self, new: NewMessage, leased: Collection[Claimed]) -> None:
        """Take note of a message that was committed, some of its deliveries leased."""
        now, lane = self._clock.now(), Lane(new.message.stream, new.message.account)
        ours = {one.delivery.id for one in leased}
        for delivery in new.deliveries:
            if delivery.id in ours or delivery.state is not State.QUEUED:
                continue
            if delivery.due_at <= now:
                self.lines.put_back(lane, delivery.domain)
            else:
                self.lines.expect(lane, delivery.due_at)

    def settled(self, settled: Settled) -> None:
        """Take note of a settlement that was committed."""
        settlement, message = settled.settlement, settled.settlement.claimed.message
        if settlement.state is State.QUEUED:
            due_at = self._clock.now() + (settlement.retry_in or timedelta(0))
            self.lines.expect(Lane(message.stream, message.account), due_at)
        if settled.dsn is not None:
            self.accepted(settled.dsn, ())

    async def _step(self, wanted: Wanted, claimed: list[Claimed]) -> Taken:
        """Make one transaction of a claim that has found something already."""
        in_hand = dict(wanted.in_hand)
        for one in claimed:
            lane = Lane(one.message.stream, one.message.account)
            in_hand[lane] = in_hand.get(lane, 0) + 1
        left = Wanted(wanted.limit - len(claimed), wanted.passing, in_hand, wanted.window)
        known = self.lines.begin(self._clock.now())

        def unit(connection: sqlite3.Connection) -> Taken:
            self._beat(connection)
            return self._claims.claim(connection, left, known, self._clock.now())

        try:
            taken = await self._writer.run(unit)
        except BaseException:
            # nobody can say what was committed, or nobody waited for it
            self.lines.forget()
            raise
        self.lines.learn(taken.learned)
        return taken

    async def _give_back(self, unit: Callable[[sqlite3.Connection], list[PutBack]]) -> int:
        back = await self._writer.run(unit)
        for one in back:
            # they may stand before the place that claims go on from
            self.lines.put_back(one.lane, one.domain)
        return len(back)
