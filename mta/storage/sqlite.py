"""The queue on SQLite: joins the writer, the reader and the units of work into a `Store`.

Workers on one machine share the file; SQLite lets one of them write at a time. What operators do is in `desk.py`.
"""

import asyncio
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from mta.clock import Clock
from mta.errors import OverRate, StoreUnavailable
from mta.events import Event, Observer
from mta.mail.ids import IdSource
from mta.queue.model import Claimed, Content, NewMessage
from mta.queue.returned import Complaint, Filed, ReturnNote
from mta.queue.settle import Settled
from mta.queue.store import Accepted
from mta.storage.allowance import AllowanceBook, Allowances
from mta.storage.connect import prepare
from mta.storage.desk import Desk
from mta.storage.reading import Reader
from mta.storage.returned import Returned
from mta.storage.rows import to_ms
from mta.storage.space import FreeSpace
from mta.storage.standing import StandingBook
from mta.storage.statements import Statements
from mta.storage.suppression import SuppressionList, Suppressions
from mta.storage.transactions import START, Position, Transactions, Walk
from mta.storage.views import Retention
from mta.storage.workers import BEAT, take_number
from mta.storage.writer import Writer, WriterSettings, folder_of

LEASE = timedelta(seconds=60)

_BELIEVED = timedelta(seconds=10)
"""How long a claim goes on where the last one stopped: what another worker queued before that place waits no longer."""

_PURGED_AT_ONCE = 100


def _nobody(units: int, seconds: float) -> None:
    """Hear of a commit and say nothing."""


@dataclass(frozen=True, slots=True)
class Units:
    """The units of work of one worker, by what they are about."""

    transactions: Transactions
    suppressions: Suppressions
    returned: Returned


@dataclass(frozen=True, slots=True)
class _Reached:
    """Up to a position, everything due is for these domains."""

    position: Position
    passing: frozenset[str]
    at: datetime


class SqliteStore:
    """A durable queue in one file. `ids` makes this worker's identifiers; nobody else may make any under its number."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        ids: IdSource,
        worker: int,
        clock: Clock,
        space: FreeSpace,
        units: Units,
        statements: Statements,
    ) -> None:
        """Use `open`."""
        self.reader = reader
        self.ids = ids
        self.suppression_list = SuppressionList(reader, clock)
        self.allowances = AllowanceBook(reader, clock)
        self.book = StandingBook(writer, reader, statements, units.transactions)
        self._writer = writer
        self._worker = worker
        self._clock = clock
        self._space = space
        self._transactions = units.transactions
        self._suppressions = units.suppressions
        self._returned = units.returned
        self._statements = statements
        self._reached: _Reached | None = None
        self._beat_at = clock.now()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: str,
        clock: Clock,
        *,
        min_free: float,
        dice: random.Random,
        lease: timedelta = LEASE,
        retention: Retention = Retention(),  # noqa: B008 - a frozen value
        on_commit: Callable[[int, float], None] = _nobody,
        settings: WriterSettings = WriterSettings(),  # noqa: B008 - a frozen value
    ) -> AsyncIterator[Self]:
        """Open the store, make it if there is none, and take a worker's number.

        Args:
            path: The database file. Its folder must exist, and must not be on a network file system.
            clock: The store's clock: SQLite is always on one machine.
            min_free: The part of the disk, of space and of inodes, below which no message is accepted.
            dice: Where the counters of identifiers start.
            lease: How long a claim holds.
            retention: How long bodies, and the rows of what is final, are kept.
            on_commit: Hears of each commit: how many units, and seconds.
            settings: Bounds of the writer.

        Raises:
            StoreUnavailable: it is damaged, of a newer version, or cannot be opened; the message says what to do.
        """
        statements = Statements.load()
        await asyncio.to_thread(prepare, path, to_ms(clock.now()))
        async with Writer(path, clock, settings, on_commit) as writer, Reader.open(path, clock) as reader:
            worker = await writer.run(
                lambda connection: take_number(connection, statements, os.getpid(), to_ms(clock.now()))
            )
            suppressions = Suppressions(statements)
            allowances = Allowances(statements, retention.events)
            transactions = Transactions(statements, suppressions, allowances, worker, lease, retention)
            returned = Returned(statements, transactions, suppressions, retention.events)
            ids, space = IdSource(clock, worker, dice), FreeSpace(folder_of(path), min_free, clock)
            try:
                units = Units(transactions, suppressions, returned)
                yield cls(writer, reader, ids, worker, clock, space, units, statements)
            finally:
                # only a courtesy to whoever looks: the number rests anyway
                with suppress(StoreUnavailable):
                    await writer.run(lambda connection: transactions.leave(connection, clock.now()))

    @property
    def worker(self) -> int:
        """The number the store gave this worker; no other live worker has it."""
        return self._worker

    @property
    def lease(self) -> timedelta:
        """How long a lease lasts from its taking or renewal."""
        return self._transactions.lease

    def now(self) -> datetime:
        """Return the store's clock, which is this machine's."""
        return self._clock.now()

    def desk(self, observer: Observer) -> Desk:
        """Return what operators change the queue with; the observer hears of their changes after the commit."""
        return Desk(
            self._writer,
            self.reader,
            self._clock,
            self.ids,
            self._statements,
            self._transactions,
            self._suppressions,
            observer,
            self._moved,
        )

    async def accept(self, new: NewMessage, events: Sequence[Event], lease: int = 0) -> Accepted:
        """Write a message with all its deliveries and events. At most `lease` deliveries are leased at once.

        The message's terms are held against what all workers accepted before, in the same transaction. Recipients for
        whom it is a duplicate are left out first: they are neither written nor counted.

        Raises:
            OverRate: nothing was written: it has more recipients than the account's rate leaves.
            FirstTimeUsedUp: nothing was written: it has more new recipients than the account may have today.
            StoreUnavailable: nothing was written; the client must hear 4yz.
            StoreFull: the same, for lack of space.
            ValueError: a delivery has a state that no delivery begins with.
        """

        def unit(connection: sqlite3.Connection) -> Accepted:
            self._space.require()
            return self._transactions.accept(connection, new, events, lease, self._clock.now())

        reads = self.allowances.reads(new.message.account)
        try:
            accepted = await self._writer.run(unit)
        except OverRate:
            self.allowances.refused(new)
            raise
        if new.terms is not None and new.terms.rate is not None:
            sent = sum(1 for delivery in new.deliveries if not delivery.state.is_final)
            self.allowances.accepted(new, max(0, sent - accepted.duplicates), reads)
        return accepted

    async def claim(self, limit: int, except_domains: Collection[str] = ()) -> list[Claimed]:
        """Lease due deliveries, and those whose lease ran out, oldest due first, passing over some domains.

        Its cost does not grow with what waits for those domains: each transaction looks at a bounded stretch of the
        line, and the next claim that passes over the same domains goes on where this one stopped.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        if limit <= 0:
            return []
        passing = frozenset(except_domains)
        position = self._start(passing)
        claimed: list[Claimed] = []
        while True:
            try:
                walk = await self._writer.run(self._claim_unit(limit - len(claimed), passing, position))
            except StoreUnavailable:
                if claimed:
                    return claimed
                raise
            claimed += walk.claimed
            if walk.reached is None:
                return claimed
            position = walk.reached
            self._reached = _Reached(position, passing, self._began(passing))

    async def content(self, queue_id: str) -> Content:
        """Return a message's octets, after comparing them with its checksum.

        Raises:
            Damaged: the octets are not those that were accepted, or are gone.
            StoreUnavailable: they cannot be read now.
        """
        return await self.reader.content(queue_id)

    async def settle(self, settled: Settled) -> Sequence[Event] | None:
        """Write what one attempt meant: state, events, DSN, suppression. None, and nothing written: the lease was lost.

        Returns the events that were written: that of a suppression is among them only if the address was not on the
        list yet.

        Raises:
            StoreUnavailable: nothing was written.
            ValueError: the move is not allowed.
        """
        return await self._writer.run(
            lambda connection: self._transactions.settle(connection, settled, self._clock.now()), patient=True
        )

    async def file(self, delivery_id: str) -> Filed | None:
        """Return a delivery in whatever state it is; None when nothing is known of it (any more).

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self.reader.file(delivery_id)

    async def settle_late(self, settled: Settled) -> Sequence[Event] | None:
        """Move a delivery from `delivered` to `bounced` because of a report. None, and nothing written, when it is not
        `delivered`: told twice counts once.

        Raises:
            StoreUnavailable: nothing was written; also when an attempt is under way, whose success may be what the
                report is about: it must be told again.
            ValueError: the move is not allowed.
        """
        return await self._writer.run(
            lambda connection: self._returned.settle_late(connection, settled, self._clock.now())
        )

    async def complain(self, complaint: Complaint) -> Sequence[Event] | None:
        """Write a complaint and what follows from it. None, and nothing written, when the delivery has one already, or
        is neither delivered nor bounced late. One that is forgotten may be complained of.

        Raises:
            StoreUnavailable: nothing was written; also when an attempt is under way.
        """
        return await self._writer.run(
            lambda connection: self._returned.complain(connection, complaint, self._clock.now())
        )

    async def note(self, note: ReturnNote) -> None:
        """Keep a note of a report, or a letter's first MiB. Of a delivery, one note of each kind is kept.

        Raises:
            StoreUnavailable: nothing was written.
            StoreFull: the same, for lack of space.
        """

        def unit(connection: sqlite3.Connection) -> None:
            # what strangers send must not take the space that mail needs
            self._space.require()
            self._returned.note(connection, note)

        await self._writer.run(unit)

    async def extend(self, delivery_ids: Collection[str]) -> frozenset[str]:
        """Renew leases; return the ids that are still ours. The others must be dropped before their final dot.

        Raises:
            StoreUnavailable: no lease was renewed.
        """
        ids = list(delivery_ids)

        def unit(connection: sqlite3.Connection) -> frozenset[str]:
            self._beat(connection)
            return self._transactions.extend(connection, ids, self._clock.now())

        return await self._writer.run(unit)

    async def release(self, delivery_ids: Collection[str]) -> None:
        """Give back leases of deliveries that were not attempted: they are due at once.

        Raises:
            StoreUnavailable: the leases stand until they run out.
        """
        ids = list(delivery_ids)
        await self._writer.run(lambda connection: self._transactions.release(connection, ids))
        # they may stand before the place that claims go on from
        self._moved()

    async def next_due(self) -> timedelta | None:
        """Return how long until something in the store is due or a lease runs out; None when nothing waits.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        due = await self.reader.next_due()
        return None if due is None else max(timedelta(0), due - self._clock.now())

    async def check(self) -> None:
        """Go through the motions of accepting a message, but write nothing.

        Raises:
            StoreUnavailable: a message would not be accepted now.
        """
        await self._writer.run(lambda connection: self._space.require())

    async def purge(self) -> bool:
        """Remove a little of what was kept long enough; return whether more may be left. To be called now and then.

        Raises:
            StoreUnavailable: nothing was removed.
        """

        def unit(connection: sqlite3.Connection) -> bool:
            now = self._clock.now()
            more = self._returned.purge(connection, now, _PURGED_AT_ONCE)
            return self._transactions.purge(connection, now, _PURGED_AT_ONCE) or more

        return await self._writer.run(unit, patient=True)

    def _claim_unit(
        self, limit: int, passing: frozenset[str], position: Position
    ) -> Callable[[sqlite3.Connection], Walk]:
        def unit(connection: sqlite3.Connection) -> Walk:
            self._beat(connection)
            return self._transactions.claim(connection, limit, passing, self._clock.now(), position)

        return unit

    def _start(self, passing: frozenset[str]) -> Position:
        reached = self._reached
        if reached is None or not reached.passing <= passing or self._clock.now() - reached.at > _BELIEVED:
            return START
        return reached.position

    def _began(self, passing: frozenset[str]) -> datetime:
        """Return when the walk that led here began: its place is not believed for longer by going on."""
        now, reached = self._clock.now(), self._reached
        going_on = reached is not None and reached.passing <= passing and now - reached.at <= _BELIEVED
        return reached.at if reached is not None and going_on else now

    def _moved(self) -> None:
        """Something became due that may stand before the place that claims go on from."""
        self._reached = None

    def _beat(self, connection: sqlite3.Connection) -> None:
        now = self._clock.now()
        if now - self._beat_at >= BEAT:
            self._beat_at = now
            self._transactions.beat(connection, now)
