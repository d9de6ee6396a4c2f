"""Bounces that the breaker of their site does not believe, in the database: kept, counted, applied, discarded.

When they are believed is decided by `mta.queue.withheld` and by operators.
"""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta

from mta.clock import Clock
from mta.events import Event, EventType
from mta.mail.ids import IdSource
from mta.queue.records import suppression_detail
from mta.queue.withheld import Applied
from mta.reputation.suppression import Suppression
from mta.storage.reading import Reader
from mta.storage.rows import Params, from_ms, suppression_from, to_ms
from mta.storage.statements import Statements
from mta.storage.suppression import Suppressions
from mta.storage.tallies import add_bounce
from mta.storage.transactions import Transactions
from mta.storage.views import WithheldRow
from mta.storage.writer import Writer

STEP = 50
"""Bounces that one transaction applies, or discards."""
KEPT = timedelta(days=100)
"""As long as the counts are kept that they would move."""
_MOST = 1000
"""Rows that people are shown."""


class WithheldBook:
    """What waits, and what becomes of it."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        clock: Clock,
        ids: IdSource,
        statements: Statements,
        suppressions: Suppressions,
        transactions: Transactions,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._sql = statements
        self._suppressions = suppressions
        self._transactions = transactions

    async def withheld_since(self) -> Mapping[str, datetime]:
        """Return the sites of bounces that wait, with the time of the newest.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return {row["site"]: from_ms(row["latest"]) for row in await self._reader.rows("withheld_sites", {})}

    async def believed(self) -> Mapping[str, datetime]:
        """Return the sites whose bounces operators believe, and when they said so last.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return {row["site"]: from_ms(row["at"]) for row in await self._reader.rows("believed_sites", {})}

    async def apply(self, site: str, until: datetime) -> Applied:
        """Let some bounces of a site do what they would have done; none are left when it has seen none.

        Who was delivered to since is neither suppressed nor counted; nor counted is what a stream had bounced before it
        was reinstated.

        Raises:
            StoreUnavailable: nothing was written.
        """
        params: Params = {"site": site, "until": to_ms(until), "limit": STEP}
        rows = await self._reader.rows("withheld_of", params)
        if not rows:
            return Applied(0, (), frozenset())
        # identifiers are made here: the writer's thread has no source of them
        names = {row["delivery_id"]: self._ids.next() for row in rows}
        return await self._writer.run(lambda connection: self._apply(connection, names))

    async def waiting(self, site: str) -> int:
        """Return how many bounces of a site wait.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        (row,) = await self._reader.rows("withheld_at", {"site": site})
        return int(row["count"])

    async def discard(self, site: str, until: datetime) -> int:
        """Forget some bounces of a site; return how many, none when none are left.

        Raises:
            StoreUnavailable: nothing was written.
        """
        params: Params = {"site": site, "until": to_ms(until), "limit": STEP}
        return await self._writer.run(
            lambda connection: connection.execute(self._sql["discard_withheld"], params).rowcount
        )

    def purge(self, connection: sqlite3.Connection, now: datetime, limit: int) -> bool:
        """Remove a little of what nobody said anything about for very long; return whether more may be left."""
        old: Params = {"before": to_ms(now - KEPT), "limit": limit}
        connection.execute(self._sql["purge_believed_sites"], old)
        return connection.execute(self._sql["purge_withheld"], old).rowcount == limit

    def _apply(self, connection: sqlite3.Connection, names: Mapping[str, str]) -> Applied:
        """Apply bounces, given the identifiers of their events."""
        now = self._clock.now()
        taken = connection.execute(self._sql["take_withheld"], {"ids": json.dumps(list(names))}).fetchall()
        events: list[Event] = []
        counted = set()
        for row in taken:
            if row["is_refuted"]:
                continue
            entry = suppression_from(row)
            if entry.holds(now):
                event = _added(row, entry, names[row["delivery_id"]], now)
                events += self._suppressions.suppress(connection, entry, event, to_ms(now))
            if row["is_counted"]:
                add_bounce(connection, self._sql, row["account"], row["stream"], entry.at)
                counted.add((str(row["account"]), str(row["stream"])))
        self._transactions.write_events(connection, events)
        return Applied(len(taken), tuple(events), frozenset(counted))


async def withheld(reader: Reader, account: str | None = None) -> list[WithheldRow]:
    """Count what waits, by site, account and stream, those with most first. Reads all of it: for people.

    Raises:
        StoreUnavailable: it cannot be read now.
    """
    return [
        WithheldRow(
            row["site"], row["account"], row["stream"], row["count"], from_ms(row["since"]), from_ms(row["latest"])
        )
        for row in await reader.rows("withheld", {"account": account, "limit": _MOST})
    ]


def _added(row: sqlite3.Row, entry: Suppression, id: str, now: datetime) -> Event:
    return Event(
        id=id,
        at=now,
        type=EventType.SUPPRESSION_ADDED,
        account=entry.account,
        stream=row["stream"],
        queue_id=row["queue_id"],
        delivery_id=row["delivery_id"],
        recipient=str(entry.address),
        site=row["site"],
        detail={**suppression_detail(entry), "withheld": True},
    )
