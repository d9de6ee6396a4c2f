"""Changes of deliveries that an operator selects: hold, release, retry, cancel, however many there are.

Each change leaves an event for each delivery that it changed (but for retry) and one row in the audit, which counts on
while the change goes on. A delivery that a worker has in hand is never touched. It goes in steps, each a transaction of
its own that lasts a moment (`steps`), so that accepting mail does not wait; who stops half-way finds done what was
done.
"""

import json
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mta.clock import Clock
from mta.events import Event, EventType, Observer
from mta.mail.ids import IdSource
from mta.queue.model import MOVES, State
from mta.storage.reading import Reader
from mta.storage.rows import Params, to_ms
from mta.storage.statements import Statements
from mta.storage.steps import AT_FIRST, LONG, SLICE, next_size
from mta.storage.transactions import Transactions
from mta.storage.views import Change, QueueRow, Selector
from mta.storage.writer import Writer

PAGE = 200
"""Deliveries that are read at once."""
STEP_OCTETS = 8_000_000
"""Octets of cancelled messages that one transaction removes at most, the first message apart: they are overwritten."""


class Verb(StrEnum):
    """What an operator may do with deliveries."""

    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    CANCEL = "cancel"


def _moving_to(target: State) -> frozenset[State]:
    """The states an operator may move to another: what the table of moves says, but for what a worker has in hand."""
    return frozenset(state for state in MOVES if target in MOVES[state]) - {State.ACTIVE}


CHANGES: Mapping[Verb, frozenset[State]] = {
    Verb.HOLD: _moving_to(State.HELD),
    Verb.RELEASE: _moving_to(State.QUEUED),
    Verb.RETRY: frozenset({State.QUEUED}),
    Verb.CANCEL: _moving_to(State.CANCELLED),
}
"""The states that each verb changes; what is in another is counted and left alone."""

_STATEMENTS = {Verb.HOLD: "hold", Verb.RELEASE: "unhold", Verb.RETRY: "retry", Verb.CANCEL: "cancel"}
_EVENTS = {
    Verb.HOLD: EventType.HELD,
    Verb.RELEASE: EventType.RELEASED,
    Verb.RETRY: None,
    Verb.CANCEL: EventType.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants what, and why."""

    verb: Verb
    selector: Selector
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Step:
    """One transaction's part of an order: as much of it as its time allows."""

    order: Order
    rows: Sequence[QueueRow]
    audit: Params
    """The row that tells of the order as a whole."""
    is_first: bool
    before: Change
    """What came of the order so far, and of this page what needs no transaction."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What a step came to."""

    changed: frozenset[str]
    seen: int
    """So many of its rows, the first ones, were seen to: the time was over then."""
    seconds: float
    so_far: Change


class Changes:
    """Carries out orders."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        clock: Clock,
        ids: IdSource,
        statements: Statements,
        transactions: Transactions,
        observer: Observer,
        moved: Callable[[], None],
    ) -> None:
        """`moved` is called when something may have become due."""
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._sql = statements
        self._transactions = transactions
        self._observer = observer
        self._moved = moved

    async def run(self, order: Order) -> AsyncGenerator[Change, None]:
        """Carry out an order, giving what came of it so far after each step; the last one is what came of it all.

        Raises:
            StoreUnavailable: not all were changed; those that were have their events.
        """
        so_far, is_first, size = Change(0, 0, 0), True, AT_FIRST
        allowed = CHANGES[order.verb]
        audit = self.audit_row(f"queue {order.verb}", str(order.selector), order.who, order.reason)
        for selector in _walks(order):
            after = ""
            while rows := await self._reader.select(selector, PAGE, after):
                after = rows[-1].id
                fit = [row for row in rows if row.state in allowed]
                active = sum(row.state is State.ACTIVE for row in rows)
                so_far = Change(so_far.changed, so_far.active + active, so_far.other + len(rows) - len(fit) - active)
                if not fit:
                    yield so_far
                while fit:
                    part = _part(fit, size, by_octets=order.verb is Verb.CANCEL)
                    done = await self._carry_out(_Step(order, part, audit, is_first, so_far))
                    so_far, is_first, fit = done.so_far, False, fit[done.seen :]
                    size = next_size(size, done.seen, done.seconds)
                    yield so_far

    def audit_row(self, action: str, target: str, who: str, reason: str) -> Params:
        """Return a row for the audit."""
        return {
            "id": self._ids.next(),
            "now": to_ms(self._clock.now()),
            "who": who,
            "action": action,
            "target": target,
            "reason": reason,
            "detail": "{}",
        }

    async def _carry_out(self, step: _Step) -> _Done:
        """Change some deliveries in one transaction: those whose state is still the same."""
        events = {row.id: event for row in step.rows if (event := self._event(step.order, row)) is not None}
        done = await self._writer.run(lambda connection: self._within_time(connection, step, events))
        self._moved()
        for id, event in events.items():
            if id in done.changed:
                self._observer.observe(event)
        return done

    def _within_time(self, connection: sqlite3.Connection, step: _Step, events: Mapping[str, Event]) -> _Done:
        """Change as many as the time of a transaction allows, a few at least."""
        began, seconds, seen = self._clock.monotonic(), 0.0, 0
        changed: set[str] = set()
        while seen < len(step.rows) and seconds <= LONG:
            slice = step.rows[seen : seen + SLICE]
            changed |= self._change(connection, step.order, slice, events)
            seen += len(slice)
            seconds = self._clock.monotonic() - began
        before, count = step.before, len(changed)
        so_far = Change(before.changed + count, before.active, before.other + seen - count)
        self._note(connection, step, so_far)
        return _Done(frozenset(changed), seen, seconds, so_far)

    def _change(
        self, connection: sqlite3.Connection, order: Order, rows: Sequence[QueueRow], events: Mapping[str, Event]
    ) -> frozenset[str]:
        """Change what is still as it was seen, with its events; return the ids."""
        now = to_ms(self._clock.now())
        statement = self._sql[_STATEMENTS[order.verb]]
        done: list[str] = []
        for state in CHANGES[order.verb]:
            ids = [row.id for row in rows if row.state is state]
            if ids:
                params = {"ids": json.dumps(ids), "was": state.value, "now": now, "reason": order.reason}
                done += [row["id"] for row in connection.execute(statement, params).fetchall()]
        changed = frozenset(done)
        self._transactions.write_events(connection, [event for id, event in events.items() if id in changed])
        if order.verb is Verb.CANCEL:
            self._transactions.finish(connection, {row.queue_id for row in rows if row.id in changed}, now)
        return changed

    def _note(self, connection: sqlite3.Connection, step: _Step, change: Change) -> None:
        detail = json.dumps({"changed": change.changed, "active": change.active, "other": change.other})
        statement = "insert_audit" if step.is_first else "count_audit"
        connection.execute(self._sql[statement], step.audit | {"detail": detail})

    def _event(self, order: Order, row: QueueRow) -> Event | None:
        kind = _EVENTS[order.verb]
        if kind is None:
            return None
        return Event(
            id=self._ids.next(),
            at=self._clock.now(),
            type=kind,
            account=row.account,
            stream=row.stream.value,
            tag=row.tag,
            message_id=row.message_id,
            queue_id=row.queue_id,
            delivery_id=row.id,
            recipient=row.recipient,
            site=row.site,
            source=row.source,
            metadata=row.metadata,
            detail={"who": order.who, "reason": order.reason},
        )


def _walks(order: Order) -> list[Selector]:
    """Return what is walked through: of a whole queue only what the verb may change, and what is in hand last."""
    selector = order.selector
    if selector.id is not None or selector.state is not None:
        return [selector]
    return [replace(selector, state=state) for state in (*sorted(CHANGES[order.verb]), State.ACTIVE)]


def _part(rows: Sequence[QueueRow], size: int, *, by_octets: bool) -> Sequence[QueueRow]:
    """Return the first rows of a page that one transaction may change."""
    part = rows[:size]
    if not by_octets:
        return part
    octets, last = 0, ""
    for count, row in enumerate(part):
        # deliveries of one message follow one another, and its octets go once
        octets += 0 if row.queue_id == last else row.size
        if count and octets > STEP_OCTETS:
            return part[:count]
        last = row.queue_id
    return part
