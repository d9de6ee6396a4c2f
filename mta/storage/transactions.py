"""The queue's units of work as plain functions of a connection. The writer gives each a transaction and commits it."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from mta.events import Event
from mta.mail.ids import first_at
from mta.queue.model import MOVES, Claimed, Content, NewMessage, State
from mta.queue.settle import Settled
from mta.queue.store import Accepted
from mta.storage.allowance import Allowances
from mta.storage.rows import (
    Params,
    delivery_params,
    event_params,
    from_ms,
    message_params,
    settle_params,
    span_to_ms,
    to_ms,
)
from mta.storage.statements import Statements
from mta.storage.suppression import Suppressions
from mta.storage.tallies import add_tallies
from mta.storage.views import Retention

BEGINNINGS = frozenset({State.QUEUED, State.HELD, State.SUPPRESSED})
"""States a delivery may have when its message is accepted."""

_SPARE = 1024
"""Unused pages, 4 MB, that a file may always have."""

_GIVEN_BACK = 256
"""Pages, 1 MB, by which a file is shortened at once."""


class Transactions:
    """The units of one worker."""

    def __init__(
        self,
        statements: Statements,
        suppressions: Suppressions,
        allowances: Allowances,
        worker: int,
        lease: timedelta,
        retention: Retention,
    ) -> None:
        self._sql = statements
        self._suppressions = suppressions
        self._allowances = allowances
        self._worker = worker
        self.lease = lease
        self._lease = span_to_ms(lease)
        self._retention = retention

    def accept(
        self, connection: sqlite3.Connection, new: NewMessage, events: Sequence[Event], lease: int, now: datetime
    ) -> Accepted:
        """Write a message, its octets, deliveries and events; lease the first deliveries that are due. What its terms
        leave out is not written.

        Raises:
            UsedUp: its terms do not allow it.
            ValueError: a delivery has a state that no delivery begins with.
        """
        if new.terms is None:
            return Accepted(new.message.id, self._write(connection, new, events, lease, now), tuple(events))
        left = self._allowances.admit(connection, new, new.terms, events, now)
        # of a duplicate nothing may be left; a message without recipients has nothing to leave out
        if left.duplicates and not left.new.deliveries:
            return Accepted(left.queue_id, (), (), left.duplicates)
        leased = self._write(connection, left.new, left.events, lease, now)
        return Accepted(left.queue_id, leased, left.events, left.duplicates)

    def settle(self, connection: sqlite3.Connection, settled: Settled, now: datetime) -> tuple[Event, ...] | None:
        """Write a settlement with its events, its suppression and its DSN, unless the lease was lost.

        Returns:
            The events that were written.

        Raises:
            ValueError: the move is not allowed, or the DSN's deliveries cannot begin as they are.
        """
        at, settlement = to_ms(now), settled.settlement
        if settlement.state not in MOVES[State.ACTIVE]:
            raise ValueError(f"a delivery cannot go from {State.ACTIVE} to {settlement.state}")
        row = connection.execute(self._sql["settle"], settle_params(settlement, self._worker, at)).fetchone()
        if row is None:
            return None
        events = self._suppressions.settle(connection, settled, at)
        self.write_events(connection, events)
        if settled.dsn is not None:
            self.insert(connection, settled.dsn, at)
        if settlement.state.is_final:
            self.finish(connection, row["queue_id"], at)
        return events

    def beat(self, connection: sqlite3.Connection, now: datetime) -> None:
        """Note that this worker lives."""
        connection.execute(self._sql["worker_seen"], {"number": self._worker, "now": to_ms(now)})

    def leave(self, connection: sqlite3.Connection, now: datetime) -> None:
        """Note that this worker ended in order."""
        connection.execute(self._sql["worker_ended"], {"number": self._worker, "now": to_ms(now)})

    def finish(self, connection: sqlite3.Connection, queue_id: str, at: int) -> None:
        """If no delivery of a message is open any more, note the time, and remove its octets unless they are kept."""
        if connection.execute(self._sql["is_open"], {"queue_id": queue_id}).fetchone()[0]:
            return
        done: Params = {"queue_id": queue_id, "now": at}
        if self._retention.body <= timedelta(0):
            connection.execute(self._sql["delete_contents"], done)
            connection.execute(self._sql["finish_whole"], done)
        else:
            connection.execute(self._sql["finish_message"], done)

    def write_events(self, connection: sqlite3.Connection, events: Iterable[Event]) -> None:
        """Write events in their order, and add what they count for to the tallies."""
        events = list(events)
        for event in events:
            connection.execute(self._sql["insert_event"], event_params(event))
        add_tallies(connection, self._sql, events)

    def insert(
        self, connection: sqlite3.Connection, new: NewMessage, at: int, leased: Collection[str] = (), until: int = 0
    ) -> None:
        """Write a message with its octets and deliveries, some of them leased until a time.

        Raises:
            ValueError: a delivery has a state that no delivery begins with.
        """
        wrong = [one for one in new.deliveries if one.state not in BEGINNINGS]
        if wrong:
            raise ValueError(f"delivery {wrong[0].id} cannot begin as {wrong[0].state}")
        where = self._insert_content(connection, new.content)
        connection.execute(self._sql["insert_message"], message_params(new.message) | where)
        rows = [delivery_params(new.message, one, at) for one in new.deliveries]
        for row in rows:
            if row["id"] in leased:
                row |= {"state": State.ACTIVE.value, "owner": self._worker, "lease_until": until}
        connection.executemany(self._sql["insert_delivery"], rows)
        if all(one.state.is_final for one in new.deliveries):
            self.finish(connection, new.message.id, at)

    def purge(self, connection: sqlite3.Connection, now: datetime, limit: int) -> bool:
        """Remove a few things that were kept long enough, and give space back; return whether more may be left."""
        bodies_before, rows_before = to_ms(now - self._retention.body), now - self._retention.events
        bodies = connection.execute(self._sql["bodies_to_purge"], {"before": bodies_before, "limit": limit}).fetchall()
        for row in bodies:
            self._remove_content(connection, row["id"])
        old: Params = {"before": to_ms(rows_before), "limit": limit}
        messages = [row["id"] for row in connection.execute(self._sql["messages_to_purge"], old).fetchall()]
        for queue_id in messages:
            # octets that were to be kept for longer go with the rows
            self._remove_content(connection, queue_id)
        connection.execute(self._sql["purge_messages"], {"ids": json.dumps(messages)})
        events: Params = {"before": first_at(rows_before), "limit": limit}
        removed = [
            len(bodies),
            len(messages),
            connection.execute(self._sql["purge_rests"], {"before": to_ms(now), "limit": limit}).rowcount,
            connection.execute(self._sql["purge_events"], events).rowcount,
        ]
        more = self._allowances.purge(connection, now, limit)
        return _give_back(connection) or more or limit in removed

    def _write(
        self, connection: sqlite3.Connection, new: NewMessage, events: Sequence[Event], lease: int, now: datetime
    ) -> tuple[Claimed, ...]:
        at = to_ms(now)
        until = at + self._lease
        due = (one for one in new.deliveries if one.state is State.QUEUED and to_ms(one.due_at) <= at)
        leased = tuple(islice(due, lease))
        self.insert(connection, new, at, {one.id for one in leased}, until)
        self.write_events(connection, events)
        return tuple(
            Claimed(
                new.message,
                replace(one, state=State.ACTIVE),
                from_ms(until),
                new.content,
                self._suppressions.holding(connection, new.message.account, one.recipient.mailbox, at),
            )
            for one in leased
        )

    def _insert_content(self, connection: sqlite3.Connection, content: Content) -> Params:
        """Write octets; return how they are found again."""
        numbers = [
            connection.execute(self._sql["insert_content"], {"octets": row}).lastrowid or 0 for row in _rows_of(content)
        ]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise sqlite3.IntegrityError(f"the pieces of one message got the numbers {numbers}")
        return {"content_at": numbers[0], "pieces": len(numbers), "header_size": len(content.header)}

    def _remove_content(self, connection: sqlite3.Connection, queue_id: str) -> None:
        connection.execute(self._sql["delete_contents"], {"queue_id": queue_id})
        connection.execute(self._sql["without_content"], {"queue_id": queue_id})


def _rows_of(content: Content) -> Iterator[bytes]:
    """Yield the rows that octets are kept in: a header and its body share one if they are small enough."""
    if len(content.header) + sum(map(len, content.body)) <= Content.PIECE:
        yield b"".join((content.header, *content.body))
    else:
        yield content.header
        yield from _cut(content.body)


def _cut(body: Iterable[bytes]) -> Iterator[bytes]:
    """Cut pieces that are too large for one row."""
    for piece in body:
        for start in range(0, len(piece), Content.PIECE):
            yield piece[start : start + Content.PIECE]


def _give_back(connection: sqlite3.Connection) -> bool:
    """Shrink the file a little when a quarter of it is unused: what is freed is soon used again on a busy server."""
    free = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
    total = int(connection.execute("PRAGMA page_count").fetchone()[0])
    if free < _SPARE or free < total // 4:
        return False
    for _ in range(_GIVEN_BACK):
        # one at a time: sqlite3 stops after the first step of a statement without columns
        connection.execute("PRAGMA incremental_vacuum(1)")
    return True
