"""What waits and has become late, in the database: found in stretches, and told of once."""

import sqlite3
from datetime import datetime

from mta.clock import Clock
from mta.events import Event
from mta.mail.ids import first_at
from mta.queue.returned import Filed
from mta.queue.settle import Settled
from mta.queue.store import Late
from mta.storage.reading import Reader
from mta.storage.rows import Params, filed_from, to_ms
from mta.storage.statements import Statements
from mta.storage.transactions import Transactions
from mta.storage.writer import Writer

STRETCH = 2000
"""Deliveries that are looked at in one step: some milliseconds."""
FOUND = 200
"""Of them, those that are told of before the next step."""


class LateMail:
    """Asks and notes."""

    def __init__(
        self, writer: Writer, reader: Reader, clock: Clock, statements: Statements, transactions: Transactions
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._sql = statements
        self._transactions = transactions

    async def find(self, after: str, since: datetime) -> Late:
        """Return what is late of a stretch behind a delivery.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        place: Params = {"after": after, "until": first_at(since), "window": STRETCH}
        (stretch,) = await self._reader.rows("stretch", place)
        if not stretch["count"]:
            return Late((), "", more=False)
        asked: Params = {"after": after, "last": stretch["last"], "since": to_ms(since), "limit": FOUND}
        rows = await self._reader.rows("late", asked)
        found = tuple(filed for row in rows if (filed := _filed(row)) is not None)
        if len(rows) == FOUND:
            return Late(found, rows[-1]["delivery_id"], more=True)
        return Late(found, stretch["last"], more=stretch["count"] == STRETCH)

    async def tell(self, settled: Settled) -> tuple[Event, ...] | None:
        """Write that a submitter was told; None when there is nothing to tell any more.

        Raises:
            StoreUnavailable: nothing was written.
        """

        def unit(connection: sqlite3.Connection) -> tuple[Event, ...] | None:
            key: Params = {"id": settled.settlement.claimed.delivery.id}
            if connection.execute(self._sql["note_delay"], key).fetchone() is None:
                return None
            self._transactions.write_events(connection, settled.events)
            if settled.dsn is not None:
                self._transactions.insert(connection, settled.dsn, to_ms(self._clock.now()))
            return settled.events

        return await self._writer.run(unit, patient=True)


def _filed(row: sqlite3.Row) -> Filed | None:
    try:
        return filed_from(row)
    except ValueError:
        # it is held, and the operator told, as soon as it is claimed; here it would be told every half minute
        return None
