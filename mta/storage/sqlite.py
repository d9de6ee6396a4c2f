"""The queue on SQLite: joins the writer, the reader and the units of work into a `Store`.

Workers on one machine share the file; SQLite lets one of them write at a time. What operators do is in `desk.py`.
"""

import asyncio
import logging
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self, cast

from mta.clock import Clock
from mta.errors import OverRate, StoreInDoubt, StoreUnavailable
from mta.events import Event, EventType, Observer
from mta.mail.ids import IdSource
from mta.mail.token import GroupPath
from mta.queue.lanes import NOTHING, Lane
from mta.queue.model import Claimed, Content, NewMessage, Pause, SiteRest, Stream
from mta.queue.returned import Complaint, Filed, Member, ReturnNote
from mta.queue.settle import Settled
from mta.queue.store import Accepted, Late
from mta.storage.allowance import AllowanceBook, Allowances
from mta.storage.at_once import AtOnce
from mta.storage.claims import Claims, Wanted
from mta.storage.connect import connect, folder_of, prepare
from mta.storage.desk import Desk
from mta.storage.late import LateMail
from mta.storage.leases import Leases
from mta.storage.moving import Moving
from mta.storage.ordinary import Acceptance
from mta.storage.reading import Reader
from mta.storage.returned import Returned
from mta.storage.rows import rest_params, to_ms
from mta.storage.scribe import Scribe
from mta.storage.space import FreeSpace
from mta.storage.standing import StandingBook
from mta.storage.statements import Statements
from mta.storage.suppression import SuppressionList, Suppressions
from mta.storage.tls import TlsBook
from mta.storage.transactions import Transactions
from mta.storage.units import OneStep
from mta.storage.views import Retention
from mta.storage.withheld import WithheldBook
from mta.storage.workers import BEAT, take_number
from mta.storage.writer import Writer, WriterSettings

LEASE = timedelta(seconds=60)

_PURGED_AT_ONCE = 100

_LOOKED_FOR = 10.0
"""Seconds for which it is tried to find out what became of a COMMIT whose answer was lost."""
_LOOK_AGAIN = 0.25

_log = logging.getLogger("mta.storage")


def _nobody(units: int, seconds: float) -> None:
    """Hear of a commit and say nothing."""


@dataclass(frozen=True, slots=True)
class Units:
    """The units of work of one worker, by what they are about."""

    transactions: Transactions
    claims: Claims
    suppressions: Suppressions
    returned: Returned


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
        scribe: Scribe | None,
    ) -> None:
        """Use `open`."""
        self._scribe = scribe
        self.reader = reader
        self.ids = ids
        self.suppression_list = SuppressionList(reader, clock)
        self.allowances = AllowanceBook(reader, clock)
        self.tls = TlsBook(writer, statements, clock)
        self.book = StandingBook(writer, reader, statements, units.transactions)
        self._late = LateMail(writer, reader, clock, statements, units.transactions)
        self.withheld = WithheldBook(writer, reader, clock, ids, statements, units.suppressions, units.transactions)
        self._writer = writer
        self._worker = worker
        self._clock = clock
        self._space = space
        self._transactions = units.transactions
        self._suppressions = units.suppressions
        self._returned = units.returned
        self._statements = statements
        self._beat_at = clock.now()
        self._leases = Leases(writer, reader, clock, units.claims, worker, self._beat)

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
        opener: Callable[[str], sqlite3.Connection] = connect,
        helper: Sequence[str] | None = None,
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
            opener: Makes the writer's connection.
            helper: The command line of a process that helps to write (`scribe`); None: none helps.

        Raises:
            StoreUnavailable: it is damaged, of a newer version, or cannot be opened; the message says what to do.
        """
        statements = Statements.load()
        at_once = AtOnce(statements)
        await asyncio.to_thread(prepare, path, to_ms(clock.now()))
        async with (
            Writer(path, clock, settings, on_commit, lambda path: at_once.ready(opener(path))) as writer,
            Reader.open(path, clock) as reader,
        ):
            worker = await writer.run(
                lambda connection: take_number(connection, statements, os.getpid(), to_ms(clock.now()))
            )
            suppressions = Suppressions(statements)
            allowances = Allowances(statements, retention.events)
            transactions = Transactions(statements, at_once, suppressions, allowances, worker, lease, retention)
            returned = Returned(statements, transactions, suppressions, retention.events)
            ids, space = IdSource(clock, worker, dice), FreeSpace(folder_of(path), min_free, clock)
            scribe = None if helper is None else Scribe(writer, path, min_free, clock, on_commit, helper)
            if scribe is not None:
                scribe.begin()
            try:
                units = Units(transactions, Claims(statements, worker, lease), suppressions, returned)
                yield cls(writer, reader, ids, worker, clock, space, units, statements, scribe)
            finally:
                if scribe is not None:
                    await scribe.close()
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
            self._leases.lines.forget,
            self.suppression_list.changed,
        )

    def moving(self) -> Moving:
        """Return what moves a queue to another machine, or takes one in."""
        return Moving(
            self._writer, self.reader, self._clock, self.ids, self._statements, self._space, self._leases.lines.forget
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

        reads = self.allowances.reads(new.message.account)
        try:
            accepted = await self._write(Acceptance(new, events, lease))
        except StoreInDoubt as doubt:
            accepted = cast(Accepted, doubt.value)
            await self._require_written(doubt, "is_message", accepted.queue_id)
        except OverRate:
            self.allowances.refused(new)
            raise
        self._leases.accepted(new, accepted.leased)
        if new.terms is not None and new.terms.rate is not None:
            sent = sum(1 for delivery in new.deliveries if not delivery.state.is_final)
            self.allowances.accepted(new, max(0, sent - accepted.duplicates), reads)
        return accepted

    async def claim(
        self, limit: int, passing: Collection[str] = (), in_hand: Mapping[Lane, int] = NOTHING, window: int = 0
    ) -> list[Claimed]:
        """Lease deliveries whose lease ran out, and those that are due, in turn by lanes; in a lane, oldest due first.

        Its cost does not grow with what waits for domains that are passed over: each transaction looks at a bounded
        stretch of the lines, and the next claim goes on where this one stopped.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        return await self._leases.claim(Wanted(limit, frozenset(passing), in_hand, window))

    async def claim_old(self, before: Mapping[Stream, datetime], limit: int) -> list[Claimed]:
        """Lease waiting deliveries whose age counts from before a time, by stream, and those whose own time is over.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        return await self._leases.claim_old(before, limit)

    async def claim_brothers(self, claimed: Claimed, limit: int) -> list[Claimed]:
        """Lease deliveries that share a return path with one of ours, and are due now or in a moment.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        return await self._leases.claim_brothers(claimed, limit)

    def waits(self, lane: Lane, domain: str) -> bool:
        """Return whether something that is due waits for its turn in a lane, or in the lane for a domain.

        From memory, as of the last claim and what this worker wrote since.
        """
        return self._leases.lines.waits(lane, domain, self._clock.now())

    def replace_weights(self, weights: Mapping[str, int]) -> None:
        """Let accounts have other numbers of turns from the next claim on; who is not named has one."""
        self._leases.lines.weights = dict(weights)

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
        events: Sequence[Event] | None
        try:
            events = await self._writer.run_together(self._settle_all, settled, patient=True)
        except StoreInDoubt as doubt:
            events = cast(Sequence[Event] | None, doubt.value)
            if events:
                await self._require_written(doubt, "is_event", events[0].id)
        if events is not None:
            self._leases.settled(settled)
        return self._noticed(events)

    async def file(self, delivery_id: str) -> Filed | None:
        """Return a delivery in whatever state it is; None when nothing is known of it (any more).

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self.reader.file(delivery_id)

    async def members(self, path: GroupPath, addresses: Collection[str]) -> Sequence[Member]:
        """Return the deliveries with a shared return path that are to one of some addresses, whatever the case of
        their ASCII letters.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self.reader.members(path, addresses)

    async def settle_late(self, settled: Settled) -> Sequence[Event] | None:
        """Move a delivery from `delivered` to `bounced` because of a report. None, and nothing written, when it is not
        `delivered`: told twice counts once.

        Raises:
            StoreUnavailable: nothing was written; also when an attempt is under way, whose success may be what the
                report is about: it must be told again.
            ValueError: the move is not allowed.
        """
        return self._noticed(
            await self._writer.run(
                lambda connection: self._returned.settle_late(connection, settled, self._clock.now())
            )
        )

    async def late(self, after: str, since: datetime) -> Late:
        """Look at a stretch of what waits for what nobody was told of though its age counts from before a time.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self._late.find(after, since)

    async def tell_late(self, settled: Settled) -> Sequence[Event] | None:
        """Write that a submitter was told of a delivery that waits, with the notification. None, and nothing written,
        when it does not wait any more, or he was told.

        Raises:
            StoreUnavailable: nothing was written.
        """
        events = await self._late.tell(settled)
        if events is not None and settled.dsn is not None:
            self._leases.accepted(settled.dsn, ())
        return events

    async def complain(self, complaint: Complaint) -> Sequence[Event] | None:
        """Write a complaint and what follows from it. None, and nothing written, when the delivery has one already, or
        is neither delivered nor bounced late. One that is forgotten may be complained of.

        Raises:
            StoreUnavailable: nothing was written; also when an attempt is under way.
        """
        return self._noticed(
            await self._writer.run(lambda connection: self._returned.complain(connection, complaint, self._clock.now()))
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
        return await self._leases.extend(delivery_ids)

    async def release(self, delivery_ids: Collection[str]) -> None:
        """Give back leases of deliveries that were not attempted: they are due at once.

        Raises:
            StoreUnavailable: the leases stand until they run out.
        """
        await self._leases.release(delivery_ids)

    async def give_back_of(self, worker: int) -> int:
        """Give back all leases of a worker that is known to be dead; return how many there were.

        Raises:
            StoreUnavailable: not all were given back.
            ValueError: it is this worker.
        """
        return await self._leases.give_back_of(worker)

    async def next_due(self) -> timedelta | None:
        """Return how long until something in the store is due or a lease runs out; None when nothing waits.

        What the last claim saw and left, because its domain or lane has no room, is not counted, nor what is paused.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self._leases.next_due()

    async def pauses(self) -> Sequence[Pause]:
        """Return what is not to be delivered for now.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self.reader.pauses()

    async def note_rest(self, site: str, rest: SiteRest | None) -> None:
        """Note that a site is left alone for a while, or, without a rest, that it is not any more.

        Raises:
            StoreUnavailable: nothing was written.
        """

        def unit(connection: sqlite3.Connection) -> None:
            if rest is None:
                connection.execute(self._statements["remove_rest"], {"site": site})
            else:
                connection.execute(self._statements["put_rest"], rest_params(rest))

        await self._writer.run(unit, patient=True)

    async def rests(self) -> Sequence[SiteRest]:
        """Return the sites that are left alone now, by whichever worker.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self.reader.rests()

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
            more = self.withheld.purge(connection, now, _PURGED_AT_ONCE) or more
            return self._transactions.purge(connection, now, _PURGED_AT_ONCE) or more

        return await self._writer.run(unit, patient=True)

    async def _require_written(self, doubt: StoreInDoubt, statement: str, id: str) -> None:
        """Look whether something was written whose COMMIT was not answered.

        Raises:
            StoreUnavailable: it was not, or that could not be found out in time.
        """

        def look(connection: sqlite3.Connection) -> bool:
            # a write: what the failed commit left in the log is seen by now, or overwritten
            self._transactions.beat(connection, self._clock.now())
            return bool(connection.execute(self._statements[statement], {"id": id}).fetchone()[0])

        until = self._clock.monotonic() + _LOOKED_FOR
        while True:
            try:
                there = await self._writer.run(look)
            except StoreUnavailable:
                if self._clock.monotonic() >= until:
                    raise doubt from None
                await asyncio.sleep(_LOOK_AGAIN)
                continue
            if not there:
                raise doubt
            _log.warning("the answer of a COMMIT was lost, and it was carried out: %s", doubt)
            return

    async def _write(self, wanted: Acceptance) -> Accepted:
        if self._scribe is not None and self._scribe.takes(wanted):
            accepted = await self._scribe.write(wanted)
            if accepted is not None:
                return accepted
        return await self._writer.run_together(self._accept_all, wanted, in_one=self._accept_in_one)

    def _accept_all(self, connection: sqlite3.Connection, wanted: Sequence[Acceptance]) -> list[Accepted | Exception]:
        self._space.require()
        return self._transactions.accept_all(connection, wanted, self._clock.now())

    def _accept_in_one(self, connection: sqlite3.Connection, wanted: Sequence[Acceptance]) -> OneStep | None:
        self._space.require()
        return self._transactions.accept_in_one(connection, wanted, self._clock.now())

    def _settle_all(self, connection: sqlite3.Connection, wanted: Sequence[Settled]) -> list[tuple[Event, ...] | None]:
        return self._transactions.settle_all(connection, wanted, self._clock.now())

    def _noticed(self, events: Sequence[Event] | None) -> Sequence[Event] | None:
        """Let the door know of what was just put on the suppression list; return what was written."""
        if any(event.type is EventType.SUPPRESSION_ADDED for event in events or ()):
            self.suppression_list.changed()
        return events

    def _beat(self, connection: sqlite3.Connection) -> None:
        now = self._clock.now()
        if now - self._beat_at >= BEAT:
            self._beat_at = now
            self._transactions.beat(connection, now)
