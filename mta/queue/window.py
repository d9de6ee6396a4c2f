"""What a worker has in hand: begins an attempt of each delivery, or of several that go in one transaction, and sees to
it until its result is written down. What is to be claimed, and when, is the dispatcher's business.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

from mta.errors import StoreUnavailable
from mta.mail.address import Mailbox
from mta.queue.attempt import Attempts, Made
from mta.queue.lanes import Lane
from mta.queue.leases import Leases, Underway
from mta.queue.ledger import Ledger
from mta.queue.model import Claimed
from mta.queue.pace import Pace
from mta.queue.settle import Settled
from mta.queue.store import Store
from mta.queue.traffic import Blocked, Change, Traffic

BATCH = 50
"""Recipients of one message that share a transaction at most."""
SOON_ENOUGH = timedelta(seconds=5)
"""What is due no earlier is found by looking into the store as usual."""

_log = logging.getLogger("mta.queue")


class Window:
    """The deliveries of one worker, each in a task or, while they go together, several in one."""

    def __init__(
        self, store: Store, leases: Leases, attempts: Attempts, ledger: Ledger, traffic: Traffic, pace: Pace
    ) -> None:
        self._store = store
        self._leases = leases
        self._attempts = attempts
        self._ledger = ledger
        self._traffic = traffic
        self._pace = pace
        self._underway = leases.underway
        self._tasks: asyncio.TaskGroup | None = None
        self._stopping = False
        self._late: list[str] = []
        self.in_hand: Counter[Lane] = Counter()
        """How many of each lane."""
        self.wanted = asyncio.Event()
        """Set when the store should be looked into."""
        self.idle = asyncio.Event()
        """Set while nothing is in hand."""
        self.idle.set()
        self.starved = False
        """Whether something was passed over for lack of room."""
        self.in_vain = 0
        """How many came back without an attempt."""

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Begin attempts in these tasks from now on."""
        self._tasks = tasks

    @property
    def is_open(self) -> bool:
        """Whether attempts are begun."""
        return self._tasks is not None and not self._stopping

    def close(self) -> None:
        """Begin nothing more; who comes to its final dot from now on is dropped."""
        self._stopping = True
        self.wanted.set()

    def drop(self) -> None:
        """Drop all that has not sent its final dot, and give it back."""
        for one in self._underway.values():
            if one.task is not None and not one.past_dot:
                one.task.cancel()

    async def give_back_late(self) -> None:
        """Give back what was claimed or handed over when nothing more was begun."""
        late, self._late = self._late, []
        if late:
            await self._leases.give_back(late)

    def begin_all(self, claimed: Iterable[Claimed]) -> None:
        """Begin with deliveries that are leased; those that share a return path go together."""
        batches: dict[tuple[str, Mailbox | None], list[Underway]] = {}
        for each in claimed:
            if not each.delivery.is_shared:
                self.begin(each)
            elif (one := self._take_in(each)) is not None:
                batches.setdefault((each.message.id, each.delivery.return_path), []).append(one)
        for several in batches.values():
            for start in range(0, len(several), BATCH):
                self._begin_batch(several[start : start + BATCH])

    def begin(self, claimed: Claimed) -> None:
        """Begin with a delivery by itself."""
        if (one := self._take_in(claimed)) is not None:
            one.task = self._running.create_task(self._see_to(one))
            one.task.add_done_callback(lambda _: self._end([one]))

    def _begin_batch(self, batch: list[Underway]) -> None:
        """Attempt several in one task, which forgets those who are in the list at its end."""
        task = self._running.create_task(self._see_to_batch(batch))
        for one in batch:
            one.task = task
        task.add_done_callback(lambda _: self._end(batch))

    @property
    def _running(self) -> asyncio.TaskGroup:
        assert self._tasks is not None  # noqa: S101  nothing is claimed or handed over before it is open
        return self._tasks

    def _take_in(self, claimed: Claimed) -> Underway | None:
        """Have one more in hand; None: nothing is to be begun for it."""
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
        self.in_hand[one.lane] += 1
        self.idle.clear()
        return one

    def _forget(self, one: Underway) -> bool:
        """Have one less in hand, unless it is forgotten already; by then the same delivery may be in hand again."""
        if self._underway.get(one.claimed.delivery.id) is not one:
            return False
        del self._underway[one.claimed.delivery.id]
        self.in_hand[one.lane] -= 1
        if not self.in_hand[one.lane]:
            del self.in_hand[one.lane]
        if not self._underway:
            self.idle.set()
        return True

    def _end(self, several: Iterable[Underway]) -> None:
        """Forget those who are done with."""
        for one in several:
            if self._forget(one):
                self._make_use_of_room(one)

    def _make_use_of_room(self, one: Underway) -> None:
        """Room in the window and at the site of one that has left: what was passed over may be claimed now."""
        roomy = len(self._underway) + self._pace.batch <= self._pace.window
        if self.starved and roomy and not self._traffic.is_full(one.site):
            self.wanted.set()

    async def _give_back(self, several: Collection[Underway]) -> None:
        """Give back what was not attempted. It may be claimed again before this hears that it was given back: by then
        it must be forgotten here."""
        for one in several:
            self._forget(one)
        await asyncio.shield(self._leases.give_back([one.claimed.delivery.id for one in several]))
        for one in several:
            self._make_use_of_room(one)

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

        try:
            made = await self._attempts.make(one, may_send_dot)
            one.past_dot = True  # what was said is written down, whoever stops us
            await self._write_down(made)
        except Blocked:
            self.in_vain += 1
            self.starved = True
            await self._give_back([one])
        except StoreUnavailable as trouble:
            # the lease runs out, and the delivery is attempted again by whoever can read the store then
            _log.error("%s waits for the store: %s", one.claimed.message.id, trouble)
        except asyncio.CancelledError:
            if not one.past_dot:
                await self._give_back([one])
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
            one.task.add_done_callback(lambda _: self._end([one]))

        first = batch[0].claimed
        try:
            await self._gather(batch)
            if len(batch) > 1:
                await self._attempts.make_batch(tuple(batch), may_send_dot, made)
        except Blocked:
            self.in_vain += len(batch)
            self.starved = True
            await self._give_back(batch)
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
        """Give back what was not attempted, to be claimed again at once."""
        left = [one for one in batch if not one.past_dot]
        for one in left:
            batch.remove(one)
        if left:
            await self._give_back(left)
            self.wanted.set()

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

    # results

    async def _write_down(self, made: Made) -> None:
        self._note(await self._ledger.write(made.settlement, made.outcome))
        if made.change is not None:
            await self._tell(made.change)

    def _note(self, settled: Settled | None) -> None:
        """Look into the store soon when something was put there that is due before it is looked into as usual."""
        if settled is None:
            return
        wait = settled.settlement.retry_in
        if settled.dsn is not None or (wait is not None and wait < SOON_ENOUGH):
            self.wanted.set()

    async def _tell(self, change: Change) -> None:
        """Let others know that a site rests, or does no longer."""
        rest = change.rest
        if rest is None:
            _log.warning("%s can be reached again, its mail goes on", change.site)
            self.wanted.set()
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
