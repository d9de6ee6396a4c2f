"""The suppression list in the database: the units that change it, inside transactions of others, and the look-up.

What stands in the way of a delivery is read with the delivery itself (`sql/queue.sql`, `claimed`).
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from enum import Enum, auto

from mta.clock import Clock
from mta.events import Event
from mta.mail.address import Mailbox
from mta.queue.model import State
from mta.queue.settle import Settled, Settlement
from mta.queue.verdict import SEEN_AGAIN_AFTER
from mta.reputation.suppression import Suppression
from mta.storage.reading import Reader
from mta.storage.rows import Params, span_to_ms, suppression_from, suppression_params
from mta.storage.statements import Statements

BELIEVED = 1.0
"""Seconds for which a list that was read by heart is believed, since other processes write to it."""
BY_HEART = 5000
"""Entries up to which that is done; it takes some milliseconds."""
LONG = 60.0
"""Seconds for which a longer list is believed to be too long."""


class Put(Enum):
    """What became of an entry that was to be written."""

    NEW = auto()
    """The address was not on the list, or not any more."""
    LONGER = auto()
    """It was, and stays on it for longer now, for the new reason."""
    KEPT = auto()
    """The entry that was there holds at least as long: it stays as it is."""


class Suppressions:
    """Units of work on the list; each runs inside a transaction of the writer."""

    def __init__(self, statements: Statements) -> None:
        self._sql = statements

    def settle(self, connection: sqlite3.Connection, settled: Settled, at: int) -> tuple[Event, ...]:
        """Write what a settlement means for the list; return the settlement's events, with the list's if it grew."""
        settlement, entry = settled.settlement, settled.settlement.suppression
        if settlement.withheld:
            self._withhold(connection, settlement)
            return settled.events
        if entry is None or (settlement.suspicion and not self._seen_long_ago(connection, entry, at)):
            return settled.events
        return settled.events + self.suppress(connection, entry, settled.on_suppressing, at)

    def reached(self, connection: sqlite3.Connection, settlements: Iterable[Settlement]) -> None:
        """Forget the suspicions of addresses that were delivered to."""
        delivered = [
            (one.claimed.message.account, str(one.claimed.delivery.recipient.mailbox))
            for one in settlements
            if one.state is State.DELIVERED
        ]
        if delivered:
            connection.execute(self._sql["clear_suspects"], {"delivered": json.dumps(delivered)})

    def suppress(
        self, connection: sqlite3.Connection, entry: Suppression, event: Event | None, at: int
    ) -> tuple[Event, ...]:
        """Put an entry on the list; return its event if the address was not on it."""
        is_new = self.put(connection, entry, at) is Put.NEW
        return (event,) if is_new and event is not None else ()

    def put(self, connection: sqlite3.Connection, entry: Suppression, at: int) -> Put:
        """Write an entry, unless that would let the address go sooner."""
        params = suppression_params(entry)
        there = connection.execute(self._sql["suppression"], params).fetchone()
        put = Put.NEW if there is None else _beside(there["expires_at"], params["expires_at"], at)
        if put is not Put.KEPT:
            connection.execute(self._sql["put_suppression"], params)
        connection.execute(self._sql["clear_suspect"], params)
        return put

    def remove(self, connection: sqlite3.Connection, account: str, address: Mailbox) -> bool:
        """Take an address off, and forget what it was suspected of; return whether it was there."""
        key: Params = {"account": account, "address": str(address)}
        connection.execute(self._sql["clear_suspect"], key)
        return connection.execute(self._sql["remove_suppression"], key).rowcount > 0

    def holding(
        self, connection: sqlite3.Connection, asked: Iterable[tuple[str, str]], at: int
    ) -> dict[tuple[str, str], Suppression]:
        """Return the entries that stand in the way of addresses at a time, both by account and address."""
        params: Params = {"asked": json.dumps([*asked]), "now": at}
        rows = connection.execute(self._sql["holding"], params).fetchall()
        return {(row["account"], row["address"]): suppression_from(row) for row in rows}

    def _withhold(self, connection: sqlite3.Connection, settlement: Settlement) -> None:
        """Keep for later what a settlement would do to the list and the counts (`withheld`)."""
        entry, claimed = settlement.suppression, settlement.claimed
        if entry is not None:
            params = suppression_params(entry) | {
                "delivery_id": claimed.delivery.id,
                "site": settlement.site or claimed.delivery.domain,
                "stream": claimed.message.stream.value,
            }
            connection.execute(self._sql["withhold"], params)

    def _seen_long_ago(self, connection: sqlite3.Connection, entry: Suppression, at: int) -> bool:
        key: Params = {"account": entry.account, "address": str(entry.address), "now": at}
        connection.execute(self._sql["suspect"], key)
        first_at = int(connection.execute(self._sql["suspected_since"], key).fetchone()["first_at"])
        return at - first_at >= span_to_ms(SEEN_AGAIN_AFTER)


class SuppressionList:
    """The list as the door asks it, read beside the writer.

    While it is short, it is known by heart, and who is not on it costs no look-up. What another process has put on it
    is then seen a second late, which harms nobody: acceptance and claims look for themselves.
    """

    def __init__(self, reader: Reader, clock: Clock, by_heart: int = BY_HEART) -> None:
        """`by_heart`: entries of a list that is still short."""
        self._reader = reader
        self._clock = clock
        self._by_heart = by_heart
        self._known: frozenset[tuple[str, str]] | None = None
        """None: it is too long."""
        self._until: float | None = None
        self._changes = 0
        self._turn = asyncio.Lock()

    def changed(self) -> None:
        """Forget what is known: this process has written to it."""
        self._changes += 1
        self._until = None

    async def find(self, account: str, address: Mailbox) -> Suppression | None:
        """Return the entry that holds now; None when the address may be written to.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        if not self._believes():
            async with self._turn:
                # somebody who waited here before may have read it
                if not self._believes():
                    await self._learn()
        if self._known is not None and (account, str(address)) not in self._known:
            return None
        entry = await self._reader.suppression(account, address)
        return entry if entry is not None and entry.holds(self._clock.now()) else None

    def _believes(self) -> bool:
        return self._until is not None and self._clock.monotonic() < self._until

    async def _learn(self) -> None:
        changes = self._changes
        entries = await self._reader.suppressed(self._by_heart + 1)
        self._known = entries if len(entries) <= self._by_heart else None
        # what was written while it was read may not be in it
        if self._changes == changes:
            self._until = self._clock.monotonic() + (BELIEVED if self._known is not None else LONG)


def _beside(old_end: int | None, new_end: int | None, at: int) -> Put:
    """Return what becomes of a new entry beside one that ends at a time, or never."""
    if old_end is None:
        return Put.KEPT
    if old_end <= at:
        return Put.NEW
    return Put.LONGER if new_end is None or new_end > old_end else Put.KEPT
