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
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from mta.clock import Clock
from mta.errors import StoreUnavailable
from mta.events import Observer
from mta.mail.address import Mailbox
from mta.queue.attempt import SUSPENDED, Attempts, Judge, Made, World
from mta.queue.breaker import Breaker
from mta.queue.journal import Journal, NoJournal
from mta.queue.lanes import Lane, room_of
from mta.queue.leases import Leases, Underway
from mta.queue.ledger import Ledger
from mta.queue.model import Claimed, Message, Stream
from mta.queue.notices import DelayNotices
from mta.queue.pace import Pace
from mta.queue.records import Records
from mta.queue.schedule import Schedule
from mta.queue.settle import Settled
from mta.queue.sites import BackOff
from mta.queue.store import Store
from mta.queue.traffic import Blocked, Change, Traffic
from mta.queue.verdict import Verdicts

__all__ = ["SUSPENDED", "Dispatcher", "World"]

POLL_EVERY = timedelta(seconds=5)
"""The store is asked at least this often, whatever it said of the next due time."""
OLD_EVERY = timedelta(seconds=30)
"""So often is looked for mail whose time is over, also where it is passed over."""
OLD_BATCH = 200
VAIN_PAUSE = timedelta(milliseconds=200)
"""After a claim of nothing but deliveries whose sites have no room."""
PROBES = 60
"""So often must results that wait fail, one pause apart, before it is believed that the store is not to blame."""
BATCH = 50
"""Recipients of one message that share a transaction at most."""
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
        self._attempts = Attempts(store, world, judge, schedule, self._traffic, self._ledger, clock)
        self._notices = DelayNotices(
            store, records, observers, self._traffic, lambda: self._attempts.schedule, self._attempts.now, self.wake
        )
        self._underway = self._leases.underway
        self._in_hand: Counter[Lane] = Counter()
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._starved = False
        self._late: list[str] = []
        """What was claimed or handed over when nothing more was begun."""
        self._batch, self._claimed, self._in_vain = pace.batch, 0, 0
        self._probes = 0
        self._old_at: float | None = None
        self._tasks: asyncio.TaskGroup | None = None

    # what the acceptor sees

    def places(self, message: Message, domains: Sequence[str], promised: int = 0) -> int:
        """Return how many of a message's first deliveries may be leased at acceptance, given their domains in order.

        Only such as will soon have a place, and before which nothing waits in the store. `promised` were leased for
        other messages and are not handed over yet.
        """
        if self._stopping or self._tasks is None or not self._ledger.usable:
            return 0
        lane = Lane(message.stream, message.account)
        room = room_of(lane, len(domains), self._in_hand, self._pace.window - promised)
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
        self._begin_all(one if one.message.size <= AT_HAND else replace(one, content=None) for one in claimed)

    def wake(self) -> None:
        """Something became due in the store, or an operator changed what may be delivered."""
        self._wanted.set()

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
            self._tasks = tasks
            chores = [tasks.create_task(self._leases.renew()), tasks.create_task(self._notices.run())]
            try:
                await self._claim_until_stopped()
            finally:
                self._stopping = True
                for chore in chores:
                    chore.cancel()
                for one in self._underway.values():
                    if one.task is not None and not one.past_dot:
                        one.task.cancel()

    async def stop(self, grace: timedelta) -> None:
        """Claim nothing more, drop what has not sent its dot, wait up to `grace` for what has."""
        self._stopping = True
        self._wanted.set()
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self._idle.wait()
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
        late, self._late = self._late, []
        if late:
            await self._leases.give_back(late)

    # claiming

    async def _claim_until_stopped(self) -> None:
        is_begun = False
        while not self._stopping:
            self._wanted.clear()
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
        self._traffic.take_pauses(await self._store.pauses())
        await self._claim_old()
        self._batch = self._pace.next_batch(self._batch, self._claimed, self._in_vain)
        if self._claimed and self._in_vain >= self._claimed:
            await asyncio.sleep(VAIN_PAUSE.total_seconds())
        passing = self._traffic.passing()
        limit = min(self._batch, self._pace.window - len(self._underway))
        self._starved = limit < self._batch or bool(passing)
        self._claimed, self._in_vain = 0, 0
        if limit <= 0:
            return False
        claimed = await self._store.claim(limit, passing, self._in_hand, self._pace.window)
        self._claimed = len(claimed)
        self._begin_all(claimed)
        return len(claimed) == limit

    async def _claim_old(self) -> None:
        """Lease what has become too old while its site rested or was full: it is given up without an attempt."""
        now = self._clock.monotonic()
        if self._old_at is not None and now - self._old_at < OLD_EVERY.total_seconds():
            return
        self._old_at = now
        at, schedule = self._attempts.now(), self._attempts.schedule
        for one in await self._store.claim_old({stream: at - schedule.max_age[stream] for stream in Stream}, OLD_BATCH):
            self._begin(one)

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
                await self._wanted.wait()
        except TimeoutError:
            pass

    def _begin_all(self, claimed: Iterable[Claimed]) -> None:
        batches: dict[tuple[str, Mailbox | None], list[Underway]] = {}
        for each in claimed:
            if not each.delivery.is_shared:
                self._begin(each)
            elif (one := self._take_in(each)) is not None:
                batches.setdefault((each.message.id, each.delivery.return_path), []).append(one)
        for several in batches.values():
            for start in range(0, len(several), BATCH):
                self._begin_batch(several[start : start + BATCH])

    def _begin(self, claimed: Claimed) -> None:
        if (one := self._take_in(claimed)) is not None:
            one.task = self._running.create_task(self._see_to(one))
            one.task.add_done_callback(lambda _: self._forget(one))

    def _begin_batch(self, batch: list[Underway]) -> None:
        """Attempt several in one task, which forgets those who are in the list at its end."""
        task = self._running.create_task(self._see_to_batch(batch))
        for one in batch:
            one.task = task
        task.add_done_callback(lambda _: self._forget_all(batch))

    @property
    def _running(self) -> asyncio.TaskGroup:
        assert self._tasks is not None  # noqa: S101  nothing is claimed or handed over before `run`
        return self._tasks

    def _take_in(self, claimed: Claimed) -> Underway | None:
        """Have one more in the window; None: nothing is to be begun for it."""
        delivery = claimed.delivery
        if self._stopping:
            self._late.append(delivery.id)
            return None
        if (mine := self._underway.get(delivery.id)) is not None:
            # its lease ran out while the attempt went on, and nobody but us took it
            mine.lease_until = claimed.lease_until
            return None
        one = Underway(claimed, claimed.lease_until)
        self._underway[delivery.id] = one
        self._in_hand[one.lane] += 1
        self._idle.clear()
        return one

    def _forget(self, one: Underway) -> None:
        self._underway.pop(one.claimed.delivery.id, None)
        self._in_hand[one.lane] -= 1
        if not self._in_hand[one.lane]:
            del self._in_hand[one.lane]
        if not self._underway:
            self._idle.set()
        # room in the window and at the site: what was passed over may be claimed now
        roomy = len(self._underway) + self._pace.batch <= self._pace.window
        if self._starved and roomy and not self._traffic.is_full(one.site):
            self._wanted.set()

    def _forget_all(self, batch: Sequence[Underway]) -> None:
        for one in batch:
            self._forget(one)

    # one delivery

    async def _see_to(self, one: Underway) -> None:
        async def may_send_dot() -> bool:
            if self._stopping and one.task is not None:
                # dropped and given back: it is no failed attempt, which would wait for its next turn
                one.task.cancel()
                await asyncio.sleep(0)
            if not await self._leases.still_ours(one):
                return False
            one.past_dot = True
            return True

        delivery_id = one.claimed.delivery.id
        try:
            made = await self._attempts.make(one, may_send_dot)
            one.past_dot = True  # what was said is written down, whoever stops us
            self._note(await self._ledger.write(made.settlement, made.outcome))
            if made.change is not None:
                await self._tell(made.change)
        except Blocked:
            self._in_vain += 1
            self._starved = True
            await asyncio.shield(self._leases.give_back([delivery_id]))
        except StoreUnavailable as trouble:
            # the lease runs out, and the delivery is attempted again by whoever can read the store then
            _log.error("%s waits for the store: %s", one.claimed.message.id, trouble)
        except asyncio.CancelledError:
            if not one.past_dot:
                await asyncio.shield(self._leases.give_back([delivery_id]))
            raise

    # several in one transaction

    async def _see_to_batch(self, batch: list[Underway]) -> None:
        """Attempt what is in the list together. Who has an outcome leaves it, to be written down by itself."""

        async def may_send_dot(named: Sequence[Underway]) -> bool:
            if self._stopping or not await self._leases.all_still_ours(named):
                # given back: it is no failed attempt of those whose lease stands
                if named[0].task is not None:
                    named[0].task.cancel()
                await asyncio.sleep(0)
                return False
            for one in named:
                one.past_dot = True
            return True

        def made(one: Underway, what: Made) -> None:
            batch.remove(one)
            one.past_dot = True
            one.task = self._running.create_task(self._write_down(what))
            one.task.add_done_callback(lambda _: self._forget(one))

        first = batch[0].claimed
        try:
            await self._gather(batch)
            if len(batch) > 1:
                await self._attempts.make_batch(tuple(batch), may_send_dot, made)
        except Blocked:
            self._in_vain += len(batch)
            self._starved = True
            await asyncio.shield(self._leases.give_back([one.claimed.delivery.id for one in batch]))
            return
        except StoreUnavailable as trouble:
            _log.error("%s waits for the store: %s", first.message.id, trouble)
            return
        except asyncio.CancelledError:
            await self._put_back(batch)
            raise
        if len(batch) == 1:
            # nobody came along, or it did not fit in
            await self._see_to(batch[0])
        elif batch:
            await self._put_back(batch)

    async def _put_back(self, batch: list[Underway]) -> None:
        """Give back what was not attempted, to be claimed again at once: by then it must be forgotten here."""
        left = [one for one in batch if not one.past_dot]
        for one in left:
            batch.remove(one)
            self._forget(one)
        if left:
            await asyncio.shield(self._leases.give_back([one.claimed.delivery.id for one in left]))
            self._wanted.set()

    async def _gather(self, batch: list[Underway]) -> None:
        """Claim what else may go with a batch, up to its largest size and that of the window."""
        room = min(BATCH - len(batch), self._pace.window - len(self._underway))
        if room <= 0:
            return
        claim = asyncio.ensure_future(self._store.claim_brothers(batch[0].claimed, room))
        try:
            found = await asyncio.shield(claim)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):
                await self._leases.give_back([one.delivery.id for one in await claim])
            raise
        for each in found:
            if (one := self._take_in(each)) is not None:
                one.task = batch[0].task
                batch.append(one)

    async def _write_down(self, made: Made) -> None:
        self._note(await self._ledger.write(made.settlement, made.outcome))
        if made.change is not None:
            await self._tell(made.change)

    def _note(self, settled: Settled | None) -> None:
        """Look into the store soon when something was put there that is due before the loop would look by itself."""
        if settled is None:
            return
        wait = settled.settlement.retry_in
        if settled.dsn is not None or (wait is not None and wait < POLL_EVERY):
            self._wanted.set()

    async def _tell(self, change: Change) -> None:
        """Let others know that a site rests, or does no longer."""
        rest = change.rest
        if rest is None:
            _log.warning("%s can be reached again, its mail goes on", change.site)
            self._wanted.set()
        elif change.alarm:
            _log.error(
                "%s refuses this server, not a recipient: %s; its mail waits, the next probe is at %s; "
                "look whether this server's address is listed or lacks a PTR record",
                change.site,
                rest.reason,
                rest.until,
            )
        else:
            _log.warning("%s is left alone until %s: %s", change.site, rest.until, rest.reason)
        try:
            await self._store.note_rest(change.site, rest)
        except StoreUnavailable as trouble:
            _log.error("the rest of %s could not be noted: %s", change.site, trouble)
