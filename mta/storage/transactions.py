"""The queue's units of work as plain functions of a connection. The writer gives each a transaction and commits it."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from msgspec.structs import replace

from mta.errors import UsedUp
from mta.events import Event
from mta.mail.ids import first_at
from mta.queue.duplicates import Remainder
from mta.queue.model import MOVES, Claimed, Content, Delivery, Message, NewMessage, State
from mta.queue.settle import Settled
from mta.queue.store import Accepted
from mta.storage.allowance import Allowances
from mta.storage.at_once import AtOnce, Ordinary
from mta.storage.bulk import MOST, Bulk
from mta.storage.ordinary import BEGINNINGS, Acceptance, fits_one_row, is_ordinary, is_simple, ordinary
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
from mta.storage.units import OneStep
from mta.storage.views import Retention

_SPARE = 1024
"""Unused pages, 4 MB, that a file may always have."""

_GIVEN_BACK = 256
"""Pages, 1 MB, by which a file is shortened at once."""


_NONE = "[]"


class Transactions:
    """The units of one worker."""

    def __init__(
        self,
        statements: Statements,
        at_once: AtOnce,
        suppressions: Suppressions,
        allowances: Allowances,
        worker: int,
        lease: timedelta,
        retention: Retention,
    ) -> None:
        self._sql = statements
        self._at_once = at_once
        self._suppressions = suppressions
        self._allowances = allowances
        self._worker = worker
        self.lease = lease
        self._lease = span_to_ms(lease)
        self._retention = retention
        self._insert_message = Bulk(statements["insert_message"])
        self._insert_content = Bulk(statements["insert_content"])
        self._insert_delivery = Bulk(statements["insert_delivery"])
        self._insert_event = Bulk(statements["insert_event"])
        self._settle = Bulk(statements["settle"])

    def accept_all(
        self, connection: sqlite3.Connection, wanted: Sequence[Acceptance], now: datetime
    ) -> list[Accepted | Exception]:
        """Write messages, their octets, deliveries and events; lease of each the first deliveries that are due.

        What its terms leave out of a message is not written.

        Returns:
            For each what became of it, or why nothing of it was written: UsedUp, when its terms do not allow it, or
            ValueError, when a delivery has a state that no delivery begins with.
        """
        at = to_ms(now)
        until = at + self._lease
        admitted = [self._admitted(connection, one, now) for one in wanted]
        # of a duplicate nothing may be left; a message without recipients has nothing to leave out
        written = [
            (one.lease, left)
            for one, left in zip(wanted, admitted, strict=True)
            if isinstance(left, Remainder) and (left.new.deliveries or not left.duplicates)
        ]
        leased: dict[str, tuple[NewMessage, Delivery]] = {}
        for lease, left in written:
            leased |= {one.id: (left.new, one) for one in islice(_due(left.new, at), lease)}
        in_one, others = _sorted_out(left for _, left in written)
        self._at_once.run(connection, [self._ordinary(left.new, left.events, at, leased, until) for left in in_one])
        self._insert(connection, [left.new for left in others], at, leased, until)
        self._insert_event.run(connection, [event_params(event) for left in others for event in left.events])
        add_tallies(connection, self._sql, [event for _, left in written for event in left.events])
        claimed = self._claimed(connection, leased.values(), at, from_ms(until)) if leased else {}
        return [_accepted(left, claimed) for left in admitted]

    def accept_in_one(
        self, connection: sqlite3.Connection, wanted: Sequence[Acceptance], now: datetime
    ) -> OneStep | None:
        """Return the one statement that does what `accept_all` does; None: it takes more than one."""
        if len(wanted) > MOST or not all(map(is_simple, wanted)):
            return None
        at = to_ms(now)
        until = at + self._lease
        leased = {due.id: (one.new, due) for one in wanted if one.lease for due in _due(one.new, at)}
        rows = [self._ordinary(one.new, one.events, at, leased, until) for one in wanted]
        # before the statement, not within it: whoever is put on the list just now was not before the acceptance
        claimed = self._claimed(connection, leased.values(), at, from_ms(until)) if leased else {}
        answers = [
            Accepted(one.new.message.id, claimed.get(one.new.message.id, ()), tuple(one.events)) for one in wanted
        ]
        return OneStep(*self._at_once.step(rows), answers)

    def settle_all(
        self, connection: sqlite3.Connection, wanted: Sequence[Settled], now: datetime
    ) -> list[tuple[Event, ...] | None]:
        """Write settlements with their events, suppressions and DSNs, but for those whose lease was lost.

        Returns:
            For each the events that were written; None: its lease was lost, and nothing was written.

        Raises:
            ValueError: a move is not allowed, or a DSN's deliveries cannot begin as they are.
        """
        at = to_ms(now)
        for one in wanted:
            if one.settlement.state not in MOVES[State.ACTIVE]:
                raise ValueError(f"a delivery cannot go from {State.ACTIVE} to {one.settlement.state}")
        ours = self._still_leased(connection, [one.settlement.claimed.delivery.id for one in wanted])
        held: list[Settled | None] = []
        for one in wanted:
            # told twice counts once
            is_held = one.settlement.claimed.delivery.id in ours
            ours.discard(one.settlement.claimed.delivery.id)
            held.append(one if is_held else None)
        settled = [one for one in held if one is not None]
        self._settle.run(connection, [settle_params(one.settlement, self._worker, at) for one in settled])
        events = [None if one is None else self._suppressions.settle(connection, one, at) for one in held]
        self._suppressions.reached(connection, [one.settlement for one in settled])
        self.write_events(connection, [event for some in events for event in some or ()])
        self._insert(connection, [one.dsn for one in settled if one.dsn is not None], at)
        final = {one.settlement.claimed.message.id for one in settled if one.settlement.state.is_final}
        self.finish(connection, final, at)
        return events

    def beat(self, connection: sqlite3.Connection, now: datetime) -> None:
        """Note that this worker lives."""
        connection.execute(self._sql["worker_seen"], {"number": self._worker, "now": to_ms(now)})

    def leave(self, connection: sqlite3.Connection, now: datetime) -> None:
        """Note that this worker ended in order."""
        connection.execute(self._sql["worker_ended"], {"number": self._worker, "now": to_ms(now)})

    def finish(self, connection: sqlite3.Connection, queue_ids: Collection[str], at: int) -> None:
        """Note of each message, if none of its deliveries is open any more, the time, and remove its octets unless they
        are kept.
        """
        if not queue_ids:
            return
        ended = connection.execute(self._sql["without_open"], {"ids": json.dumps([*queue_ids])}).fetchone()["ids"]
        if ended == _NONE:
            return
        done: Params = {"ids": ended, "now": at}
        if self._retention.body <= timedelta(0):
            connection.execute(self._sql["delete_contents"], done)
            connection.execute(self._sql["finish_whole"], done)
        else:
            connection.execute(self._sql["finish_messages"], done)

    def write_events(self, connection: sqlite3.Connection, events: Collection[Event]) -> None:
        """Write events in their order, and add what they count for to the tallies."""
        self._insert_event.run(connection, [event_params(event) for event in events])
        add_tallies(connection, self._sql, events)

    def insert(self, connection: sqlite3.Connection, new: NewMessage, at: int) -> None:
        """Write a message with its octets and deliveries, none of them leased.

        Raises:
            ValueError: a delivery has a state that no delivery begins with.
        """
        self._insert(connection, [new], at)

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

    def _admitted(
        self, connection: sqlite3.Connection, wanted: Acceptance, now: datetime
    ) -> Remainder | UsedUp | ValueError:
        """Return what its terms leave of a message, and note that as used; or why nothing of it may be written."""
        new, events = wanted.new, tuple(wanted.events)
        try:
            _require_beginnings(new)
        except ValueError as error:
            return error
        if new.terms is None or not new.terms.bind:
            return Remainder(new, events, new.message.id)
        connection.execute("SAVEPOINT terms")
        try:
            left = self._allowances.admit(connection, new, new.terms, events, now)
        except UsedUp as error:
            connection.execute("ROLLBACK TO terms")
            connection.execute("RELEASE terms")
            return error
        connection.execute("RELEASE terms")
        return left

    def _insert(
        self,
        connection: sqlite3.Connection,
        new: Sequence[NewMessage],
        at: int,
        leased: Collection[str] = (),
        until: int = 0,
    ) -> None:
        """Write messages with their octets and deliveries, some of them leased until a time.

        Raises:
            ValueError: a delivery has a state that no delivery begins with.
        """
        if not new:
            return
        for one in new:
            _require_beginnings(one)
        places = self._insert_contents(connection, [one.content for one in new])
        messages = [message_params(one.message) | place for one, place in zip(new, places, strict=True)]
        self._insert_message.run(connection, messages)
        rows = [self._delivery(one.message, each, at, leased, until) for one in new for each in one.deliveries]
        self._insert_delivery.run(connection, rows)
        self.finish(
            connection, [one.message.id for one in new if all(each.state.is_final for each in one.deliveries)], at
        )

    def _ordinary(
        self, new: NewMessage, events: Iterable[Event], at: int, leased: Collection[str], until: int
    ) -> Ordinary:
        return ordinary(new, events, self._delivery(new.message, new.deliveries[0], at, leased, until))

    def _delivery(self, message: Message, delivery: Delivery, at: int, leased: Collection[str], until: int) -> Params:
        row = delivery_params(message, delivery, at)
        if delivery.id in leased:
            row |= {"state": State.ACTIVE.value, "owner": self._worker, "lease_until": until}
        return row

    def _claimed(
        self, connection: sqlite3.Connection, leased: Collection[tuple[NewMessage, Delivery]], at: int, until: datetime
    ) -> dict[str, tuple[Claimed, ...]]:
        """Return what was leased by its message's id."""
        asked = {(new.message.account, str(one.recipient.mailbox)) for new, one in leased}
        listed = self._suppressions.holding(connection, asked, at)
        claimed: dict[str, tuple[Claimed, ...]] = {}
        for new, one in leased:
            entry = listed.get((new.message.account, str(one.recipient.mailbox))) if listed else None
            one_more = Claimed(new.message, replace(one, state=State.ACTIVE), until, new.content, entry)
            claimed[new.message.id] = (*claimed.get(new.message.id, ()), one_more)
        return claimed

    def _still_leased(self, connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
        params: Params = {"ids": json.dumps(ids), "owner": self._worker}
        return set(json.loads(connection.execute(self._sql["still_leased"], params).fetchone()["ids"]))

    def _insert_contents(self, connection: sqlite3.Connection, contents: Sequence[Content]) -> list[Params]:
        """Write octets; return how those of each are found again."""
        pieces = [tuple(_rows_of(content)) for content in contents]
        first = int(connection.execute(self._sql["next_content"]).fetchone()["id"])
        rows: list[Params] = [
            {"id": id, "octets": octets} for id, octets in enumerate((one for some in pieces for one in some), first)
        ]
        self._insert_content.run(connection, rows)
        places: list[Params] = []
        for content, some in zip(contents, pieces, strict=True):
            places.append({"content_at": first, "pieces": len(some), "header_size": len(content.header)})
            first += len(some)
        return places

    def _remove_content(self, connection: sqlite3.Connection, queue_id: str) -> None:
        connection.execute(self._sql["delete_contents"], {"ids": json.dumps([queue_id])})
        connection.execute(self._sql["without_content"], {"queue_id": queue_id})


def _accepted(
    left: Remainder | UsedUp | ValueError, claimed: Mapping[str, tuple[Claimed, ...]]
) -> Accepted | Exception:
    if not isinstance(left, Remainder):
        return left
    is_written = left.new.deliveries or not left.duplicates
    leased = claimed.get(left.new.message.id, ())
    return Accepted(left.queue_id, leased, left.events if is_written else (), left.duplicates)


def _require_beginnings(new: NewMessage) -> None:
    wrong = [one for one in new.deliveries if one.state not in BEGINNINGS]
    if wrong:
        raise ValueError(f"delivery {wrong[0].id} cannot begin as {wrong[0].state}")


def _sorted_out(written: Iterable[Remainder]) -> tuple[list[Remainder], list[Remainder]]:
    """Return those that can be written in one step, and the others."""
    in_one: list[Remainder] = []
    others: list[Remainder] = []
    for left in written:
        (in_one if is_ordinary(left.new, left.events) else others).append(left)
    return in_one, others


def _due(new: NewMessage, at: int) -> Iterator[Delivery]:
    return (one for one in new.deliveries if one.state is State.QUEUED and to_ms(one.due_at) <= at)


def _rows_of(content: Content) -> Iterator[bytes]:
    """Yield the rows that octets are kept in: a header and its body share one if they are small enough."""
    if fits_one_row(content):
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
