"""Counts of what became of deliveries, folded from events in the transaction that writes them."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime

from mta.events import Event
from mta.reputation.rates import slot_of, tally_of
from mta.storage.rows import Params
from mta.storage.statements import Statements


def add_tallies(connection: sqlite3.Connection, statements: Statements, events: Iterable[Event]) -> None:
    """Add events to the counts of their account's stream, in its current epoch. What counts nowhere costs nothing."""
    rows = [row for event in events if (row := _row(event)) is not None]
    if rows:
        connection.executemany(statements["add_tally"], rows)


def add_bounce(connection: sqlite3.Connection, statements: Statements, account: str, stream: str, at: datetime) -> None:
    """Add a hard bounce that was not counted when it happened, at the time at which it happened."""
    counts = {"delivered": 0, "ended": 1, "hard_bounced": 1, "complained": 0}
    connection.execute(statements["add_tally"], {"account": account, "stream": stream, "slot": slot_of(at), **counts})


def _row(event: Event) -> Params | None:
    if event.account is None or event.stream is None or (tally := tally_of(event)) is None:
        return None
    return {
        "account": event.account,
        "stream": event.stream,
        "slot": slot_of(event.at),
        "delivered": tally.delivered,
        "ended": tally.ended,
        "hard_bounced": tally.hard_bounced,
        "complained": tally.complained,
    }
