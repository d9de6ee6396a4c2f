"""The queue's engine: claim → route → sign → transport → settle, under one task group.

The store is the queue; in memory is only a bounded window of it, under leases. A delivery in the window is one task,
which waits for a slot at its site, makes one attempt and writes down what it meant. Whatever ends this process leaves
leases behind that run out by themselves.

Stopping: nothing more is claimed; attempts that have not sent their final dot are dropped and their leases given back;
those after it are waited for, since to repeat them would deliver twice (RFC 1047).
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mta.accounts.standing import Standing
from mta.clock import Clock
from mta.errors import Damaged, StoreUnavailable
from mta.events import Event, Observer
from mta.mail import failures
from mta.mail.outcome import Bounced, Deferred, Outcome
from mta.queue.model import Claimed, Content, Message
from mta.queue.pace import Pace
from mta.queue.records import Records
from mta.queue.schedule import Schedule
from mta.queue.seams import Hold, Letter, Router, Sealer, Site, Transport, Unsigned
from mta.queue.settle import Settled, Settlement, expired, held, settle, suppressed
from mta.queue.slots import Slots
from mta.queue.store import Store
from mta.queue.verdict import Verdicts

RENEW_EVERY = timedelta(seconds=20)
POLL_EVERY = timedelta(seconds=5)
"""The store is asked at least this often, whatever it said of the next due time."""
TROUBLE_PAUSE = timedelta(seconds=1)
SUSPENDED = "suspended"
"""How the hold reason of a suspended account's mail begins: a reinstatement releases what was held for it."""

_log = logging.getLogger("mta.queue")


@dataclass(frozen=True, slots=True)
class World:
    """What lies outside the queue."""

    router: Router
    sealer: Sealer
    transport: Transport
    stamp: Callable[[Claimed], bytes]
    """Makes the report field of a delivery, which goes on top of its signatures; empty for notifications."""
    suspended: Callable[[str, str], Standing | None]
    """The standing by which a stream of an account may not send; None when it may."""


@dataclass(slots=True)
class _Underway:
    """One delivery in the window."""

    claimed: Claimed
    lease_until: datetime
    task: asyncio.Task[None] | None = None
    past_dot: bool = False
    """From here on the attempt is not dropped: to make it again could deliver twice."""


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
    ) -> None:
        self._store = store
        self._world = world
        self._records = records
        self._verdicts = verdicts
        self._schedule = schedule
        self._observers = observers
        self._clock = clock
        self._dice = dice
        self._pace = pace
        self._underway: dict[str, _Underway] = {}
        self._domains: Counter[str] = Counter()
        self._slots = Slots(pace.per_site)
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._starved = False
        self._tasks: asyncio.TaskGroup | None = None

    # what the acceptor sees

    def room(self) -> int:
        """Return how many deliveries may be leased at acceptance right now."""
        if self._stopping or self._tasks is None:
            return 0
        return max(0, self._pace.window - len(self._underway))

    def hand_over(self, claimed: Sequence[Claimed]) -> None:
        """Take deliveries that were committed leased to this worker."""
        for one in claimed:
            self._begin(one)

    def wake(self) -> None:
        """Something became due in the store."""
        self._wanted.set()

    # what the daemon sees

    @property
    def in_hand(self) -> int:
        """How many deliveries are in the window."""
        return len(self._underway)

    def reschedule(self, schedule: Schedule) -> None:
        """Use another schedule from the next failure on."""
        self._schedule = schedule

    async def run(self) -> None:
        """Work until cancelled or stopped. What is under way when this is cancelled is given back."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            renewal = tasks.create_task(self._renew())
            try:
                await self._claim_until_stopped()
            finally:
                self._stopping = True
                renewal.cancel()
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
                    "in doubt at stop: the reply to the final dot of %s to %s had not come; it will be sent again",
                    one.claimed.message.id,
                    one.claimed.delivery.recipient.mailbox,
                )
                if one.task is not None:
                    one.task.cancel()

    # claiming

    async def _claim_until_stopped(self) -> None:
        while not self._stopping:
            self._wanted.clear()
            pause = POLL_EVERY
            try:
                if await self._claim():
                    continue
                if not self._starved and (due := await self._store.next_due()) is not None:
                    pause = min(POLL_EVERY, due)
            except StoreUnavailable as trouble:
                _log.error("the store cannot be read, delivery pauses: %s", trouble)
                pause = TROUBLE_PAUSE
            await self._sleep(pause)

    async def _claim(self) -> bool:
        """Lease what is due; return whether there may be more that there is room for."""
        limit = min(self._pace.batch, self._pace.window - len(self._underway))
        full = [domain for domain, count in self._domains.items() if count >= self._pace.per_domain]
        self._starved = limit < self._pace.batch or bool(full)
        if limit <= 0:
            return False
        claimed = await self._store.claim(limit, full)
        for one in claimed:
            self._begin(one)
        return len(claimed) == limit

    async def _sleep(self, pause: timedelta) -> None:
        # at least a moment, so that a due time in the past that cannot be claimed is no busy loop
        try:
            async with asyncio.timeout(max(0.01, pause.total_seconds())):
                await self._wanted.wait()
        except TimeoutError:
            pass

    def _begin(self, claimed: Claimed) -> None:
        assert self._tasks is not None  # noqa: S101  nothing is claimed or handed over before `run`
        delivery = claimed.delivery
        if (mine := self._underway.get(delivery.id)) is not None:
            # its lease ran out while the attempt went on, and nobody but us took it
            mine.lease_until = claimed.lease_until
            return
        one = _Underway(claimed, claimed.lease_until)
        self._underway[delivery.id] = one
        self._domains[delivery.domain] += 1
        self._idle.clear()
        one.task = self._tasks.create_task(self._see_to(one))
        one.task.add_done_callback(lambda _: self._forget(one))

    def _forget(self, one: _Underway) -> None:
        delivery = one.claimed.delivery
        self._underway.pop(delivery.id, None)
        self._domains[delivery.domain] -= 1
        left = self._domains[delivery.domain]
        if not left:
            del self._domains[delivery.domain]
        if not self._underway:
            self._idle.set()
        # room in the window and in the domain's share of it: what was passed over may be claimed now
        roomy = len(self._underway) + self._pace.batch <= self._pace.window
        if self._starved and roomy and left <= self._pace.per_domain // 2:
            self._wanted.set()

    # leases

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY.total_seconds())
            await self._extend(list(self._underway))

    async def _extend(self, ids: Sequence[str]) -> None:
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
            one = self._underway.get(delivery_id)
            if one is None:
                continue
            if delivery_id in ours:
                one.lease_until = until
            elif one.task is not None and not one.past_dot:
                _log.warning("lost the lease of %s: its attempt is dropped", one.claimed.message.id)
                one.task.cancel()

    async def _may_send_dot(self, one: _Underway) -> bool:
        """Look at the lease a last time; from here on the attempt is not dropped any more."""
        if self._stopping:
            return False
        if self._store.now() >= one.lease_until:
            try:
                if one.claimed.delivery.id not in await self._store.extend([one.claimed.delivery.id]):
                    return False
            except StoreUnavailable:
                return False
            one.lease_until = self._store.now() + self._store.lease
        one.past_dot = True
        return True

    # one delivery

    async def _see_to(self, one: _Underway) -> None:
        delivery = one.claimed.delivery
        try:
            settlement = await self._attempt(one)
            one.past_dot = True  # what was said is written down, whoever stops us
            await self._write(one, settlement)
        except StoreUnavailable as trouble:
            # the lease runs out, and the delivery is attempted again by whoever can read the store then
            _log.error("%s waits for the store: %s", one.claimed.message.id, trouble)
        except asyncio.CancelledError:
            if not one.past_dot:
                await asyncio.shield(self._give_back(delivery.id))
            raise

    async def _give_back(self, delivery_id: str) -> None:
        try:
            await self._store.release([delivery_id])
        except StoreUnavailable as trouble:
            _log.error("a lease could not be given back and will run out by itself: %s", trouble)

    async def _attempt(self, one: _Underway) -> Settlement:
        """Make one attempt and decide what it means. The border where the unexpected becomes a deferral."""
        claimed = one.claimed
        if self._schedule.expires_at(claimed.message, claimed.delivery) <= self._store.now():
            return expired(claimed)
        if claimed.suppressed is not None:
            return suppressed(claimed, claimed.suppressed)
        if (standing := self._standing_against(claimed.message)) is not None:
            return held(claimed, f"{SUSPENDED}: {standing.reason}")
        began = self._clock.monotonic()
        site: Site | None = None
        try:
            match await self._world.router.route(claimed.delivery.domain):
                case Site() as site:
                    async with self._slots.of(site):
                        began = self._clock.monotonic()
                        outcome = await self._speak(one, site)
                case Hold(reason):
                    return held(claimed, reason)
                case Bounced() | Deferred() as outcome:
                    pass
        except Unsigned as why:
            return held(claimed, str(why))
        except Damaged as why:
            _log.error("%s: %s", claimed.message.id, why)
            return held(claimed, str(why))
        except StoreUnavailable:
            raise
        except Exception:
            _log.exception("the attempt of %s to %s failed", claimed.message.id, claimed.delivery.recipient.mailbox)
            outcome = Deferred(failures.INTERNAL_DEFERRAL)
        # the schedule counts the attempt that was just made
        counted = replace(claimed, delivery=replace(claimed.delivery, attempts=claimed.delivery.attempts + 1))
        now = self._store.now()
        outcome, classification = self._verdicts.of(outcome)
        decided = replace(settle(counted, outcome, self._schedule, now, self._dice), classification=classification)
        if not self._records.is_notification(claimed.message):
            decided = self._verdicts.judged(decided, now)
        duration = timedelta(seconds=self._clock.monotonic() - began)
        return replace(decided, claimed=claimed, duration=duration, site=site.name if site else None)

    async def _speak(self, one: _Underway, site: Site) -> Outcome:
        claimed = one.claimed
        content = await self._content(claimed)
        signature = await self._world.sealer.seal(claimed.message, content.header)
        fields = self._world.stamp(claimed) + signature
        letter = Letter(claimed.message, claimed.delivery.return_path, claimed.delivery.recipient, fields, content)
        still_ours: Callable[[], Awaitable[bool]] = lambda: self._may_send_dot(one)  # noqa: E731  typed
        return await self._world.transport.deliver(letter, site, still_ours)

    def _standing_against(self, message: Message) -> Standing | None:
        """Return the suspension that holds a message; what we have to tell about earlier mail is not held."""
        if self._records.is_notification(message):
            return None
        return self._world.suspended(message.account, message.stream)

    async def _content(self, claimed: Claimed) -> Content:
        return claimed.content or await self._store.content(claimed.message.id)

    async def _write(self, one: _Underway, settlement: Settlement) -> None:
        """Make a decision durable. What is past its dot is written even when this task is cancelled."""
        original: Content | None = None
        if settlement.notice is not None:
            try:
                original = await self._content(one.claimed)
            except Damaged as why:
                _log.error("%s: %s; its notification goes out without the header", one.claimed.message.id, why)
        settled = self._records.of(settlement, original)
        written = await self._settle(one, settled)
        if written is None:
            _log.warning(
                "%s to %s was settled as %s, but its lease was lost: another worker decides",
                one.claimed.message.id,
                one.claimed.delivery.recipient.mailbox,
                settlement.state,
            )
            return
        for event in written:
            for observer in self._observers:
                observer.observe(event)
        # due before the claiming loop would look again by itself
        soon = settlement.retry_in is not None and settlement.retry_in < POLL_EVERY
        if soon or settled.dsn is not None:
            self._wanted.set()

    async def _settle(self, one: _Underway, settled: Settled) -> Sequence[Event] | None:
        """Write a settlement, however long the store cannot: of what was forgotten, the host would be asked again.

        When the lease runs out in the meantime, the claim that finds it is ours again (see `_begin`) or another
        worker's, which is told here as a lost lease.
        """
        is_told = False
        while True:
            try:
                return await asyncio.shield(self._store.settle(settled))
            except StoreUnavailable as trouble:
                if not is_told:
                    _log.error("%s waits to be written down: %s", one.claimed.message.id, trouble)
                is_told = True
            await asyncio.sleep(TROUBLE_PAUSE.total_seconds())
