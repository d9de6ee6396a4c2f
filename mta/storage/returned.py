"""The units of work of what came back: late bounces, complaints, notes of reports, and how long they are kept."""

import sqlite3
from datetime import datetime, timedelta

from mta.errors import StoreUnavailable
from mta.events import Event
from mta.queue.model import MOVES, State
from mta.queue.returned import Complaint, ReturnNote
from mta.queue.settle import Settled
from mta.reputation.rates import slot_of
from mta.storage.rows import Params, return_params, settle_params, to_ms
from mta.storage.statements import Statements
from mta.storage.suppression import Suppressions
from mta.storage.transactions import Transactions

MOST_REJECTED = 10_000
MOST_LETTERS = 1_000
"""Of what anybody can send us, no more is kept than this, however young it is."""

COUNTS_KEPT = timedelta(days=100)
"""How far back a window of the ratios may reach."""
COMPLAINTS_KEPT = timedelta(days=400)
"""How long the same complaint is known again. Its token outlives the delivery's rows."""


class Returned:
    """The units of one worker; each runs inside a transaction of the writer."""

    def __init__(
        self, statements: Statements, transactions: Transactions, suppressions: Suppressions, notes_kept: timedelta
    ) -> None:
        self._sql = statements
        self._transactions = transactions
        self._suppressions = suppressions
        self._notes_kept = notes_kept

    def settle_late(self, connection: sqlite3.Connection, settled: Settled, now: datetime) -> tuple[Event, ...] | None:
        """Write a late settlement with its events, its suppression and its DSN; None when it is not `delivered`.

        Raises:
            ValueError: the move is not allowed, or the DSN's deliveries cannot begin as they are.
            StoreUnavailable: the delivery is in a worker's hands: what it came to is not written yet.
        """
        at, settlement = to_ms(now), settled.settlement
        if settlement.state not in MOVES[State.DELIVERED]:
            raise ValueError(f"a delivery cannot go from {State.DELIVERED} to {settlement.state}")
        params = settle_params(settlement, owner=0, at=at)
        if connection.execute(self._sql["settle_late"], params).fetchone() is None:
            self._state_of(connection, settlement.claimed.delivery.id)
            return None
        events = self._suppressions.settle(connection, settled, at)
        self._transactions.write_events(connection, events)
        if settled.dsn is not None:
            self._transactions.insert(connection, settled.dsn, at)
        return events

    def complain(self, connection: sqlite3.Connection, complaint: Complaint, now: datetime) -> tuple[Event, ...] | None:
        """Write the first complaint about a delivery, with its suppression; None when it is not the first, or when the
        delivery has not reached anybody.

        Raises:
            StoreUnavailable: the delivery is in a worker's hands: what it came to is not written yet.
        """
        at = to_ms(now)
        state = self._state_of(connection, complaint.delivery_id)
        if state is not None and state is not State.DELIVERED:
            return None
        told: Params = {"delivery_id": complaint.delivery_id, "now": at}
        if connection.execute(self._sql["insert_complaint"], told).rowcount == 0:
            return None
        on_list = self._suppressions.suppress(connection, complaint.suppression, complaint.on_suppressing, at)
        events = (complaint.event, *on_list)
        self._transactions.write_events(connection, events)
        return events

    def note(self, connection: sqlite3.Connection, note: ReturnNote) -> None:
        """Keep a note, unless there is one of its kind about the same delivery."""
        connection.execute(self._sql["insert_return"], return_params(note))

    def purge(self, connection: sqlite3.Connection, now: datetime, limit: int) -> bool:
        """Remove a few things that were kept long enough; return whether more may be left."""
        old: Params = {"before": to_ms(now - self._notes_kept), "limit": limit}
        counted = now - COUNTS_KEPT
        steps: dict[str, Params] = {
            "purge_returns": old,
            "purge_rejected": {"most": MOST_REJECTED, "limit": limit},
            "purge_letters": {"most": MOST_LETTERS, "limit": limit},
            "purge_complaints": {"before": to_ms(now - COMPLAINTS_KEPT), "limit": limit},
            "purge_suspects": {"before": to_ms(counted), "limit": limit},
            "purge_tallies": {"before": slot_of(counted), "limit": limit},
        }
        return limit in [connection.execute(self._sql[name], params).rowcount for name, params in steps.items()]

    def _state_of(self, connection: sqlite3.Connection, delivery_id: str) -> State | None:
        """Return the state of a delivery, `delivered` for one that bounced late; None when nothing is known of it.

        A report may overtake the commit of the success that it follows: whoever sent it must try again.

        Raises:
            StoreUnavailable: the delivery is in a worker's hands.
        """
        row = connection.execute(self._sql["state_of"], {"id": delivery_id}).fetchone()
        if row is None:
            return None
        state = State(row["state"])
        if state is State.ACTIVE:
            raise StoreUnavailable(f"delivery {delivery_id} is being attempted right now; a report of it must wait")
        return State.DELIVERED if row["late"] else state
