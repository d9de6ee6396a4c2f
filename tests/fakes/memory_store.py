"""The queue in memory: what `SqliteStore` does, without a disk. Both pass the same contract tests."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mta.clock import Clock
from mta.errors import Damaged, StoreUnavailable
from mta.events import Event
from mta.queue.model import MOVES, Claimed, Content, Delivery, Message, NewMessage, State
from mta.queue.settle import Settled, Settlement
from mta.queue.store import Accepted

LEASE = timedelta(seconds=60)
_BEGINNINGS = (State.QUEUED, State.HELD, State.SUPPRESSED)


@dataclass(slots=True)
class _Row:
    delivery: Delivery
    owner: int | None = None
    lease_until: datetime | None = None


@dataclass(slots=True)
class Memory:
    """What the workers of one memory share, open to tests."""

    messages: dict[str, Message] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    rows: dict[str, _Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    workers: int = 0


class MemoryStore:
    """A queue that forgets. Set `failure` and every call raises it."""

    def __init__(self, clock: Clock, lease: timedelta = LEASE, memory: Memory | None = None) -> None:
        """Give two stores one `memory` and they are two workers."""
        self.memory = memory or Memory()
        self.memory.workers += 1
        self.failure: StoreUnavailable | None = None
        self._worker = self.memory.workers
        self._clock = clock
        self._lease = lease

    @property
    def worker(self) -> int:
        """The number of this worker."""
        return self._worker

    @property
    def lease(self) -> timedelta:
        """How long a lease lasts from its taking or renewal."""
        return self._lease

    @property
    def events(self) -> list[Event]:
        """Every event written, in order."""
        return self.memory.events

    def now(self) -> datetime:
        """Return the clock's time."""
        return self._clock.now()

    def state_of(self, delivery_id: str) -> State:
        """Return where a delivery stands."""
        return self.memory.rows[delivery_id].delivery.state

    async def accept(self, new: NewMessage, events: Sequence[Event], lease: int = 0) -> Accepted:
        """Keep a message; lease the first deliveries that are due."""
        self._fail()
        now = self.now()
        due = [one.id for one in new.deliveries if one.state is State.QUEUED and one.due_at <= now][:lease]
        self._insert(new)
        self.events.extend(events)
        return Accepted(new.message.id, tuple(replace(one, content=new.content) for one in self._take(due)))

    async def claim(self, limit: int, except_domains: Collection[str] = ()) -> list[Claimed]:
        """Lease what is due, oldest first."""
        self._fail()
        due = [
            row.delivery
            for row in self.memory.rows.values()
            if self._is_due(row) and row.delivery.domain not in except_domains
        ]
        due.sort(key=lambda delivery: (delivery.due_at, delivery.id))
        return self._take(delivery.id for delivery in due[: max(0, limit)])

    async def content(self, queue_id: str) -> Content:
        """Return a message's octets."""
        self._fail()
        content = self.memory.contents.get(queue_id)
        if content is None:
            raise Damaged(f"message {queue_id}: its octets are gone")
        octets = b"\r\n".join((content.header, b"".join(content.body)))
        if hashlib.sha256(octets).digest() != self.memory.messages[queue_id].checksum:
            raise Damaged(f"message {queue_id}: its octets are not those that were accepted")
        return content

    async def settle(self, settled: Settled) -> bool:
        """Keep what an attempt meant, if the lease is still ours."""
        self._fail()
        settlement = settled.settlement
        if settlement.state not in MOVES[State.ACTIVE]:
            raise ValueError(f"a delivery cannot go from active to {settlement.state}")
        row = self._ours(settlement.claimed.delivery.id)
        if row is None:
            return False
        if settled.dsn is not None:
            self._insert(settled.dsn)
        self.events.extend(settled.events)
        old, again = row.delivery, settlement.state is State.QUEUED
        row.delivery = replace(
            old,
            state=settlement.state,
            due_at=self.now() + (settlement.retry_in or timedelta(0)) if again else old.due_at,
            attempts=old.attempts + int(settlement.attempted),
            site=settlement.site or old.site,
            hold_reason=settlement.hold_reason if settlement.state is State.HELD else None,
            delay_noticed=old.delay_noticed or settlement.delay_noticed,
            last_reply=settlement.reply,
            last_host=_speaker(settlement),
        )
        row.owner = row.lease_until = None
        self._finish(old.message_id)
        return True

    async def extend(self, delivery_ids: Collection[str]) -> frozenset[str]:
        """Renew leases that are ours."""
        self._fail()
        ours = {id: row for id in delivery_ids if (row := self._ours(id)) is not None}
        for row in ours.values():
            row.lease_until = self.now() + self._lease
        return frozenset(ours)

    async def release(self, delivery_ids: Collection[str]) -> None:
        """Give back leases that are ours."""
        self._fail()
        for id in delivery_ids:
            if (row := self._ours(id)) is not None:
                row.delivery = replace(row.delivery, state=State.QUEUED)
                row.owner = row.lease_until = None

    async def next_due(self) -> timedelta | None:
        """Return how long until something is due."""
        self._fail()
        rows = self.memory.rows.values()
        times = [row.lease_until for row in rows if row.lease_until is not None]
        times += [row.delivery.due_at for row in rows if row.delivery.state is State.QUEUED]
        return max(timedelta(0), min(times) - self.now()) if times else None

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _insert(self, new: NewMessage) -> None:
        wrong = [one for one in new.deliveries if one.state not in _BEGINNINGS]
        if wrong:
            raise ValueError(f"delivery {wrong[0].id} cannot begin as {wrong[0].state}")
        if new.message.id in self.memory.messages or any(one.id in self.memory.rows for one in new.deliveries):
            raise StoreUnavailable(f"{new.message.id} is there already")
        self.memory.messages[new.message.id] = new.message
        self.memory.contents[new.message.id] = new.content
        self.memory.rows |= {one.id: _Row(one) for one in new.deliveries}
        self._finish(new.message.id)

    def _is_due(self, row: _Row) -> bool:
        if row.lease_until is not None:
            return row.lease_until <= self.now()
        return row.delivery.state is State.QUEUED and row.delivery.due_at <= self.now()

    def _take(self, ids: Iterable[str]) -> list[Claimed]:
        until, taken = self.now() + self._lease, []
        for row in (self.memory.rows[id] for id in ids):
            row.delivery = replace(row.delivery, state=State.ACTIVE)
            row.owner, row.lease_until = self._worker, until
            taken.append(Claimed(self.memory.messages[row.delivery.message_id], row.delivery, until))
        return taken

    def _ours(self, id: str) -> _Row | None:
        row = self.memory.rows.get(id)
        return row if row is not None and row.owner == self._worker else None

    def _finish(self, queue_id: str) -> None:
        rows = (row for row in self.memory.rows.values() if row.delivery.message_id == queue_id)
        if all(row.delivery.state.is_final for row in rows):
            self.memory.contents.pop(queue_id, None)


def _speaker(settlement: Settlement) -> str | None:
    tries = reversed(settlement.tries)
    return next((one.host for one in tries if one.remote and one.reply == settlement.reply), None)
