"""What operators change: deliveries that they select, pauses, accounts made by command, the suppression list, and
whether bounces are believed.

Every change leaves its events and one row in the audit. How many deliveries are changed at once is left to `changes`.
"""

import json
import sqlite3
from collections.abc import AsyncGenerator, Callable

from mta.clock import Clock
from mta.events import Event, EventType, Observer
from mta.mail.address import Mailbox
from mta.mail.ids import IdSource
from mta.queue.model import Pause, PauseScope
from mta.queue.records import Detail, suppression_detail
from mta.reputation.suppression import Suppression
from mta.storage.changes import Changes, Order, Verb
from mta.storage.reading import Reader
from mta.storage.rows import Params, pause_params, to_ms
from mta.storage.statements import Statements
from mta.storage.suppression import Put, Suppressions
from mta.storage.transactions import Transactions
from mta.storage.views import Change, Selector
from mta.storage.withheld import WithheldBook
from mta.storage.writer import Writer


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
        listed: Callable[[], None],
    ) -> None:
        """`moved` is called when something may have become due, `listed` when the suppression list was changed."""
        self._writer = writer
        self._clock = clock
        self._ids = ids
        self._sql = statements
        self._transactions = transactions
        self._suppressions = suppressions
        self._observer = observer
        self._moved = moved
        self._listed = listed
        self._withheld = WithheldBook(writer, reader, clock, ids, statements, suppressions, transactions)
        self._changes = Changes(writer, reader, clock, ids, statements, transactions, observer, moved)

    def changing(self, order: Order) -> AsyncGenerator[Change, None]:
        """Carry out an order about deliveries, giving what came of it so far after each step. Not all is changed if
        the caller stops listening.

        Raises:
            StoreUnavailable: not all were changed; those that were have their events.
        """
        return self._changes.run(order)

    async def hold(self, selector: Selector, who: str, reason: str) -> Change:
        """Set queued deliveries aside.

        Raises:
            StoreUnavailable: not all were changed; those that were have their events.
        """
        return await self._change(Order(Verb.HOLD, selector, who, reason))

    async def release(self, selector: Selector, who: str, reason: str) -> Change:
        """Queue held deliveries again, due at once but not before their release time.

        Raises:
            StoreUnavailable: not all were changed; those that were have their events.
        """
        return await self._change(Order(Verb.RELEASE, selector, who, reason))

    async def retry(self, selector: Selector, who: str, reason: str) -> Change:
        """Make queued deliveries due at once, but not before their release time. Leaves an audit row and no events.

        Raises:
            StoreUnavailable: not all were changed.
        """
        return await self._change(Order(Verb.RETRY, selector, who, reason))

    async def cancel(self, selector: Selector, who: str, reason: str) -> Change:
        """End queued and held deliveries. Nobody is told; octets go with a message's last delivery.

        Raises:
            StoreUnavailable: not all were changed; those that were have their events.
        """
        return await self._change(Order(Verb.CANCEL, selector, who, reason))

    async def pause(self, scope: PauseScope, value: str, who: str, reason: str) -> bool:
        """Let nothing of a scope be attempted until it is resumed. Return False, and write nothing, when it is paused.

        `value` is the account, stream or site; empty for everything.

        Raises:
            StoreUnavailable: nothing was written.
        """
        pause = Pause(self._ids.next(), scope, value, reason, who, self._clock.now())
        return await self._audited("queue pause", "put_pause", pause, who, reason)

    async def resume(self, scope: PauseScope, value: str, who: str, reason: str) -> bool:
        """Let what was paused be attempted again. Return False, and write nothing, when it is not paused.

        Raises:
            StoreUnavailable: nothing was written.
        """
        pause = Pause(self._ids.next(), scope, value, reason, who, self._clock.now())
        resumed = await self._audited("queue resume", "remove_pause", pause, who, reason)
        if resumed:
            self._moved()
        return resumed

    async def _audited(self, action: str, statement: str, pause: Pause, who: str, reason: str) -> bool:
        """Put or remove a pause; note it when that changed something."""
        target = f"--{pause.scope} {pause.value}".rstrip()
        audit = self._changes.audit_row(action, target, who, reason)

        def unit(connection: sqlite3.Connection) -> bool:
            if connection.execute(self._sql[statement], pause_params(pause)).rowcount == 0:
                return False
            connection.execute(self._sql["insert_audit"], audit)
            return True

        return await self._writer.run(unit)

    async def put_account(self, name: str, data: str, who: str, reason: str) -> None:
        """Make an account, or change it. `data` is JSON with the keys of an `[[account]]`; it is not looked into.

        Raises:
            StoreUnavailable: nothing was written.
        """
        now = self._clock.now()
        event = Event(
            self._ids.next(), now, EventType.ACCOUNT_CHANGED, account=name, detail={"who": who, "reason": reason}
        )
        audit = self._changes.audit_row("account put", name, who, reason)

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
        audit = self._changes.audit_row("suppression add", f"{entry.account} {entry.address}", who, entry.detail)

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
        audit = self._changes.audit_row("suppression remove", f"{account} {address}", who, reason)

        def unit(connection: sqlite3.Connection) -> bool:
            if not self._suppressions.remove(connection, account, address):
                return False
            connection.execute(self._sql["insert_audit"], audit)
            self._transactions.write_events(connection, [event])
            return True

        return await self._told(unit, event)

    async def believe(self, site: str, who: str, reason: str) -> int:
        """Let bounces of a site that were withheld be believed, and those to come; return how many waited. What they do
        is done by the workers, in moments; with none that wait, nothing is written.

        Raises:
            StoreUnavailable: nothing was written.
        """
        waiting = await self._withheld.waiting(site)
        audit = self._changes.audit_row("bounces apply", site, who, reason) | _counted(waiting)

        def unit(connection: sqlite3.Connection) -> None:
            connection.execute(self._sql["believe_site"], {"site": site, "now": audit["now"]})
            connection.execute(self._sql["insert_audit"], audit)

        if waiting:
            await self._writer.run(unit)
        return waiting

    async def disbelieve(self, site: str, who: str, reason: str) -> int:
        """Forget bounces of a site that were withheld: they suppress nobody, and count in nobody's ratio; return how
        many there were. Those to come are withheld as before.

        Raises:
            StoreUnavailable: not all were forgotten.
        """
        until = self._clock.now()
        waiting = await self._withheld.waiting(site)
        if waiting:
            audit = self._changes.audit_row("bounces discard", site, who, reason) | _counted(waiting)
            await self._writer.run(lambda connection: connection.execute(self._sql["insert_audit"], audit).rowcount)
        count = 0
        while forgotten := await self._withheld.discard(site, until):
            count += forgotten
        return count

    async def _told(self, unit: Callable[[sqlite3.Connection], bool], event: Event) -> bool:
        """Run a unit, and tell of it when it changed something."""
        changed = await self._writer.run(unit)
        if changed:
            self._listed()
            self._observer.observe(event)
        return changed

    async def _change(self, order: Order) -> Change:
        change = Change(0, 0, 0)
        async for so_far in self._changes.run(order):
            change = so_far
        return change

    def _about(self, kind: EventType, account: str, address: Mailbox, detail: Detail, who: str) -> Event:
        return Event(
            id=self._ids.next(),
            at=self._clock.now(),
            type=kind,
            account=account,
            recipient=str(address),
            detail={**detail, "who": who},
        )


def _counted(count: int) -> Params:
    """Return what the audit tells of how many were meant."""
    return {"detail": json.dumps({"changed": count})}
