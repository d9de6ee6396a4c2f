"""Counts of what became of deliveries, folded from events in the transaction that writes them."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime

from mta.events import Event
from mta.reputation.rates import Tally, slot_of, tally_of
from mta.storage.rows import Params
from mta.storage.statements import Statements


def add_tallies(connection: sqlite3.Connection, statements: Statements, events: Iterable[Event]) -> None:
    """Add events to the counts of their account's stream, in its current epoch. What counts nowhere costs nothing."""
    sums: dict[tuple[str, str, int], Tally] = {}
    for event in events:
        if event.account is not None and event.stream is not None and (tally := tally_of(event)) is not None:
            key = event.account, event.stream, slot_of(event.at)
            sums[key] = sums.get(key, Tally()) + tally
    for (account, stream, slot), tally in sums.items():
        _add(connection, statements, account, stream, slot, tally)


def add_bounce(connection: sqlite3.Connection, statements: Statements, account: str, stream: str, at: datetime) -> None:
    """Add a hard bounce that was not counted when it happened, at the time at which it happened."""
    _add(connection, statements, account, stream, slot_of(at), Tally(ended=1, hard_bounced=1))


def _add(
    connection: sqlite3.Connection, statements: Statements, account: str, stream: str, slot: int, tally: Tally
) -> None:
    row: Params = {
        "account": account,
        "stream": stream,
        "slot": slot,
        "delivered": tally.delivered,
        "ended": tally.ended,
        "hard_bounced": tally.hard_bounced,
        "complained": tally.complained,
    }
    connection.execute(statements["add_tally"], row)
