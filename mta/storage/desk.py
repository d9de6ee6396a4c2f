"""What operators change: hold, release, retry, cancel, accounts made by command, and the suppression list.

Every change leaves an event for each delivery and one row in the audit. A delivery that a worker has in hand is never
touched. Large selections are changed in steps, so that accepting mail does not wait for them.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mta.clock import Clock
from mta.events import Event, EventType, Observer
from mta.mail.address import Mailbox
from mta.mail.ids import IdSource
from mta.queue.model import MOVES, State
from mta.queue.records import Detail, suppression_detail
from mta.reputation.suppression import Suppression
from mta.storage.reading import Reader
from mta.storage.rows import Params, to_ms
from mta.storage.statements import Statements
from mta.storage.suppression import Put, Suppressions
from mta.storage.transactions import Transactions
from mta.storage.views import Change, QueueRow, Selector
from mta.storage.writer import Writer

_PAGE = 2000
"""Deliveries read at once; each page looks at all that are open."""
_STEP = 200
"""Deliveries changed in one transaction: about 10 ms during which nothing is accepted."""


@dataclass(frozen=True, slots=True)
class _Action:
    """One kind of change: its statement, the states it may change, and the event that tells of it."""

    name: str
    statement: str
    allowed: frozenset[State]
    event: EventType | None


def _moving_to(target: State) -> frozenset[State]:
    """The states an operator may move to another: what the table of moves says, but for what a worker has in hand."""
    return frozenset(state for state in MOVES if target in MOVES[state]) - {State.ACTIVE}


_HOLD = _Action("queue hold", "hold", _moving_to(State.HELD), EventType.HELD)
_RELEASE = _Action("queue release", "unhold", _moving_to(State.QUEUED), EventType.RELEASED)
_RETRY = _Action("queue retry", "retry", frozenset({State.QUEUED}), None)
_CANCEL = _Action("queue cancel", "cancel", _moving_to(State.CANCELLED), EventType.CANCELLED)


@dataclass(frozen=True, slots=True)
class _Order:
    """Who wants what, and why."""

    action: _Action
    selector: Selector
    who: str
    reason: str


class Desk:
    """Changes on an operator's word."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        clock: Clock,
        ids: IdSource,
        statements: Statements,
        transactions: Transactions,
        suppressions: Suppressions,
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
        self._suppressions = suppressions
        self._observer = observer
        self._moved = moved

    async def hold(self, selector: Selector, who: str, reason: str) -> Change:
        """Set queued deliveries aside.

        Raises:
            StoreUnavailable: not all were changed; those that were have their events.
        """
        return await self._change(_Order(_HOLD, selector, who, reason))

    async def release(self, selector: Selector, who: str, reason: str) -> Change:
        """Queue held deliveries again, due at once but not before their release time.

        Raises:
            StoreUnavailable: not all were changed; those that were have their events.
        """
        return await self._change(_Order(_RELEASE, selector, who, reason))

    async def retry(self, selector: Selector, who: str, reason: str) -> Change:
        """Make queued deliveries due at once, but not before their release time. Leaves an audit row and no events.

        Raises:
            StoreUnavailable: not all were changed.
        """
        return await self._change(_Order(_RETRY, selector, who, reason))

    async def cancel(self, selector: Selector, who: str, reason: str) -> Change:
        """End queued and held deliveries. Nobody is told; octets go with a message's last delivery.

        Raises:
            StoreUnavailable: not all were changed; those that were have their events.
        """
        return await self._change(_Order(_CANCEL, selector, who, reason))

    async def put_account(self, name: str, data: str, who: str, reason: str) -> None:
        """Make an account, or change it. `data` is JSON with the keys of an `[[account]]`; it is not looked into.

        Raises:
            StoreUnavailable: nothing was written.
        """
        now = self._clock.now()
        event = Event(
            self._ids.next(), now, EventType.ACCOUNT_CHANGED, account=name, detail={"who": who, "reason": reason}
        )
        audit = self._audit("account put", name, who, reason, {})

        def unit(connection: sqlite3.Connection) -> None:
            connection.execute(self._sql["put_account"], {"name": name, "data": data, "now": to_ms(now)})
            connection.execute(self._sql["insert_audit"], audit)
            self._transactions.write_events(connection, [event])

        await self._writer.run(unit)
        self._observer.observe(event)

    async def add_suppression(self, entry: Suppression, who: str) -> bool:
        """Put an address on an account's list. Return False, and write nothing, when it is there for at least as long.

        Raises:
            StoreUnavailable: nothing was written.
        """
        event = self._about(EventType.SUPPRESSION_ADDED, entry.account, entry.address, suppression_detail(entry), who)
        audit = self._audit("suppression add", f"{entry.account} {entry.address}", who, entry.detail, {})

        def unit(connection: sqlite3.Connection) -> bool:
            if self._suppressions.put(connection, entry, to_ms(self._clock.now())) is Put.KEPT:
                return False
            connection.execute(self._sql["insert_audit"], audit)
            self._transactions.write_events(connection, [event])
            return True

        return await self._told(unit, event)

    async def remove_suppression(self, account: str, address: Mailbox, who: str, reason: str) -> bool:
        """Take an address off an account's list. Return False, and write nothing, when it is not on it.

        Raises:
            StoreUnavailable: nothing was written.
        """
        event = self._about(EventType.SUPPRESSION_REMOVED, account, address, {"reason": reason}, who)
        audit = self._audit("suppression remove", f"{account} {address}", who, reason, {})

        def unit(connection: sqlite3.Connection) -> bool:
            if not self._suppressions.remove(connection, account, address):
                return False
            connection.execute(self._sql["insert_audit"], audit)
            self._transactions.write_events(connection, [event])
            return True

        return await self._told(unit, event)

    async def _told(self, unit: Callable[[sqlite3.Connection], bool], event: Event) -> bool:
        """Run a unit, and tell of it when it changed something."""
        changed = await self._writer.run(unit)
        if changed:
            self._observer.observe(event)
        return changed

    async def _change(self, order: _Order) -> Change:
        changed = active = other = 0
        after, noted = "", False
        while rows := await self._reader.select(order.selector, _PAGE, after):
            after = rows[-1].id
            allowed = [row for row in rows if row.state in order.action.allowed]
            done: set[str] = set()
            for start in range(0, len(allowed), _STEP):
                done |= await self._step(order, allowed[start : start + _STEP], note=not noted)
                noted = True
            changed += len(done)
            active += sum(row.state is State.ACTIVE for row in rows)
            other += sum(row.state is not State.ACTIVE and row.id not in done for row in rows)
        return Change(changed, active, other)

    async def _step(self, order: _Order, rows: Sequence[QueueRow], *, note: bool) -> frozenset[str]:
        """Change some deliveries in one transaction; return the ids of those whose state was still the same."""
        audit = self._audit(order.action.name, str(order.selector), order.who, order.reason, {}) if note else None
        events = {row.id: self._event(order, row) for row in rows}

        def unit(connection: sqlite3.Connection) -> frozenset[str]:
            if audit is not None:
                connection.execute(self._sql["insert_audit"], audit)
            now = to_ms(self._clock.now())
            done = frozenset(row.id for row in rows if self._change_one(connection, order, row, now))
            self._transactions.write_events(connection, [event for id, event in events.items() if event and id in done])
            if order.action is _CANCEL:
                for queue_id in {row.queue_id for row in rows if row.id in done}:
                    self._transactions.finish(connection, queue_id, now)
            return done

        done = await self._writer.run(unit)
        self._moved()
        for id, event in events.items():
            if event is not None and id in done:
                self._observer.observe(event)
        return done

    def _change_one(self, connection: sqlite3.Connection, order: _Order, row: QueueRow, now: int) -> bool:
        params: Params = {"id": row.id, "was": row.state.value, "now": now, "reason": order.reason}
        return connection.execute(self._sql[order.action.statement], params).fetchone() is not None

    def _event(self, order: _Order, row: QueueRow) -> Event | None:
        if order.action.event is None:
            return None
        return Event(
            id=self._ids.next(),
            at=self._clock.now(),
            type=order.action.event,
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

    def _about(self, kind: EventType, account: str, address: Mailbox, detail: Detail, who: str) -> Event:
        return Event(
            id=self._ids.next(),
            at=self._clock.now(),
            type=kind,
            account=account,
            recipient=str(address),
            detail={**detail, "who": who},
        )

    def _audit(self, action: str, target: str, who: str, reason: str, detail: dict[str, str]) -> Params:
        return {
            "id": self._ids.next(),
            "now": to_ms(self._clock.now()),
            "who": who,
            "action": action,
            "target": target,
            "reason": reason,
            "detail": json.dumps(detail),
        }
