"""The queue's engine: claims what is due, has an attempt made of each, and sees that its result is written down.

The store is the queue; in memory is only a bounded window of it, under leases. A delivery in the window is one task,
which waits for a place at its site, makes one attempt and writes down what it meant. A site or a lane that has no room
is passed over by the next claims, and what was claimed for it in vain goes back.

Stopping: nothing more is claimed; attempts that have not sent their final dot are dropped and their leases given back;
those after it are waited for, since to repeat them would deliver twice (RFC 1047).
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import timedelta

from msgspec.structs import replace

from mta.clock import Clock
from mta.errors import StoreUnavailable
from mta.events import Observer
from mta.queue.attempt import SUSPENDED, Attempts, Judge, World
from mta.queue.breaker import Breaker
from mta.queue.journal import Journal, NoJournal
from mta.queue.lanes import Lane, room_of
from mta.queue.leases import Leases
from mta.queue.ledger import Ledger
from mta.queue.model import Claimed, Message, Stream
from mta.queue.notices import DelayNotices
from mta.queue.pace import Pace
from mta.queue.records import Records
from mta.queue.room import Room
from mta.queue.schedule import Schedule
from mta.queue.sites import BackOff
from mta.queue.store import Store
from mta.queue.traffic import Traffic
from mta.queue.verdict import Verdicts
from mta.queue.window import SOON_ENOUGH, Window

__all__ = ["SUSPENDED", "Dispatcher", "World"]

POLL_EVERY = SOON_ENOUGH
"""The store is asked at least this often, whatever it said of the next due time."""
OLD_EVERY = timedelta(seconds=30)
"""So often is looked for mail whose time is over, also where it is passed over."""
OLD_BATCH = 200
VAIN_PAUSE = timedelta(milliseconds=200)
"""After a claim of nothing but deliveries whose sites have no room."""
PROBES = 60
"""So often must results that wait fail, one pause apart, before it is believed that the store is not to blame."""
AT_HAND = 64 * 1024
"""Octets of a fresh message that are kept in memory until its turn comes; a larger one is read from the store."""

_log = logging.getLogger("mta.queue")


class Dispatcher:
    """Attempts what is due. One for each worker."""

    def __init__(
        self,
        store: Store,
        world: World,
        records: Records,
        verdicts: Verdicts,
        schedule: Schedule,
        observers: Sequence[Observer],
        clock: Clock,
        dice: random.Random,
        pace: Pace = Pace(),  # noqa: B008  frozen
        back_off: BackOff = BackOff(),  # noqa: B008  frozen
        journal: Journal | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pace = pace
        self._leases = Leases(store)
        self._traffic = Traffic(pace, back_off, clock, dice)
        self._ledger = Ledger(store, records, journal or NoJournal(), observers, pace.trouble_pause)
        self.breaker = Breaker()
        """What an operator may look at, and close."""
        judge = Judge(records, verdicts, self.breaker, dice)
        room = Room(pace.octets)
        self._attempts = Attempts(store, world, judge, schedule, self._traffic, self._ledger, clock, room)
        self._window = Window(store, self._leases, self._attempts, self._ledger, self._traffic, pace)
        self._notices = DelayNotices(
            store, records, observers, self._traffic, lambda: self._attempts.schedule, self._attempts.now, self.wake
        )
        self._underway = self._leases.underway
        self._batch, self._claimed = pace.batch, 0
        self._probes = 0
        self._old_at: float | None = None

    # what the acceptor sees

    def places(self, message: Message, domains: Sequence[str], promised: int = 0) -> int:
        """Return how many of a message's first deliveries may be leased at acceptance, given their domains in order.

        Only such as will soon have a place, and before which nothing waits in the store. `promised` were leased for
        other messages and are not handed over yet.
        """
        if not self._window.is_open or not self._ledger.usable:
            return 0
        lane = Lane(message.stream, message.account)
        if self._traffic.is_paused(lane):
            return 0
        room = room_of(lane, len(domains), self._window.in_hand, self._pace.window - promised)
        free: list[str] = []
        waits: dict[str, bool] = {}
        for domain in domains[:room]:
            if domain not in waits:
                waits[domain] = self._store.waits(lane, domain)
            if waits[domain]:
                break
            free.append(domain)
        return self._traffic.free(lane, free)

    def hand_over(self, claimed: Sequence[Claimed]) -> None:
        """Take deliveries that were committed leased to this worker."""
        self._window.begin_all(one if one.message.size <= AT_HAND else replace(one, content=None) for one in claimed)

    def wake(self, message: Message | None = None) -> None:
        """Something became due in the store: deliveries of a message, if one is given. Or something was changed.

        What is accepted while its lane is paused is no reason to look.
        """
        if message is None or not self._traffic.is_paused(Lane(message.stream, message.account)):
            self._window.wanted.set()

    # what the daemon sees

    @property
    def in_hand(self) -> int:
        """How many deliveries are in the window."""
        return len(self._underway)

    def reschedule(self, schedule: Schedule, back_off: BackOff | None = None) -> None:
        """Use another schedule from the next failure on, and rests of sites of another length."""
        self._attempts.reschedule(schedule)
        if back_off is not None:
            self._traffic.replace(back_off)

    async def run(self) -> None:
        """Work until cancelled or stopped. What is under way when this is cancelled is given back."""
        async with asyncio.TaskGroup() as tasks:
            self._window.open(tasks)
            chores = [tasks.create_task(self._leases.renew()), tasks.create_task(self._notices.run())]
            try:
                await self._claim_until_stopped()
            finally:
                self._window.close()
                for chore in chores:
                    chore.cancel()
                self._window.drop()

    async def stop(self, grace: timedelta) -> None:
        """Claim nothing more, drop what has not sent its dot, wait up to `grace` for what has."""
        self._window.close()
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self._window.idle.wait()
        except TimeoutError:
            for one in list(self._underway.values()):
                _log.warning(
                    "in doubt at stop: the reply to the final dot of %s to %s had not come, or could not be written "
                    "down; it will be sent again unless the journal has it",
                    one.claimed.message.id,
                    one.claimed.delivery.recipient.mailbox,
                )
                if one.task is not None:
                    one.task.cancel()

    async def give_back_late(self) -> None:
        """Give back what was claimed or accepted while this stopped; to be called when nothing more is accepted."""
        await self._window.give_back_late()

    # claiming

    async def _claim_until_stopped(self) -> None:
        is_begun = False
        while self._window.is_open:
            self._window.wanted.clear()
            pause = POLL_EVERY
            try:
                if not self._ledger.usable:
                    await self._probe()
                if not is_begun:
                    self._traffic.take_rests(await self._store.rests(), self._store.now())
                    is_begun = True
                more = await self._claim()
                self._ledger.succeeded()
                if more:
                    continue
                pause = await self._until_next()
            except StoreUnavailable as trouble:
                self._ledger.failed(trouble)
                pause = self._pace.trouble_pause
            await self._sleep(pause)

    async def _probe(self) -> None:
        """Find out whether the store can write again. What could be read proves nothing: a full disk can be read.

        Results that wait prove it best, and are tried all the time. Only when they never come through, though a lease
        can be renewed, is it they that are wrong and not the store.

        Raises:
            StoreUnavailable: it cannot, as far as is known.
        """
        if self._underway:
            await self._store.extend([next(iter(self._underway))])
        if self._ledger.waiting and self._probes < PROBES:
            self._probes += 1
            raise StoreUnavailable(f"{self._ledger.waiting} results wait to be written down")
        self._probes = 0

    async def _claim(self) -> bool:
        """Lease what is due; return whether there may be more that there is room for."""
        window = self._window
        self._traffic.take_pauses(await self._store.pauses())
        await self._claim_old()
        self._batch = self._pace.next_batch(self._batch, self._claimed, window.in_vain)
        if self._claimed and window.in_vain >= self._claimed:
            await asyncio.sleep(VAIN_PAUSE.total_seconds())
        passing = self._traffic.passing()
        limit = min(self._batch, self._pace.window - len(self._underway))
        window.starved = limit < self._batch or bool(passing)
        self._claimed, window.in_vain = 0, 0
        if limit <= 0:
            return False
        claimed = await self._store.claim(limit, passing, window.in_hand, self._pace.window)
        self._claimed = len(claimed)
        window.begin_all(claimed)
        return len(claimed) == limit

    async def _claim_old(self) -> None:
        """Lease what has become too old while its site rested or was full: it is given up without an attempt."""
        now = self._clock.monotonic()
        if self._old_at is not None and now - self._old_at < OLD_EVERY.total_seconds():
            return
        self._old_at = now
        at, schedule = self._attempts.now(), self._attempts.schedule
        for one in await self._store.claim_old({stream: at - schedule.max_age[stream] for stream in Stream}, OLD_BATCH):
            self._window.begin(one)

    async def _until_next(self) -> timedelta:
        """Return how long there is nothing to claim, as far as is known."""
        times = [POLL_EVERY]
        if len(self._underway) < self._pace.window and (due := await self._store.next_due()) is not None:
            times.append(due)
        if (end := self._traffic.next_end()) is not None:
            times.append(timedelta(seconds=end))
        return min(times)

    async def _sleep(self, pause: timedelta) -> None:
        # at least a moment, so that a due time in the past that cannot be claimed is no busy loop
        try:
            async with asyncio.timeout(max(0.01, pause.total_seconds())):
                await self._window.wanted.wait()
        except TimeoutError:
            pass
