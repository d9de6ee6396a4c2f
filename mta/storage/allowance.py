"""What accounts have used of what they may do, in the database: held against their terms when a message is written.

All of it happens inside the transaction of the acceptance: workers that share the store cannot overrun a limit
together, and a restart forgets nothing. What a span holds is decided in `mta.accounts.allowance`.
"""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mta.accounts.account import Rate
from mta.accounts.allowance import DAY, DuplicateKey, Terms, Use, end_of_stretch, room, room_again, stretch_of
from mta.clock import Clock
from mta.errors import FirstTimeUsedUp, OverRate, UsedUp
from mta.events import Event
from mta.queue.duplicates import Remainder, without_duplicates
from mta.queue.model import Delivery, NewMessage
from mta.storage.reading import Reader
from mta.storage.rows import Params, to_ms, use_from
from mta.storage.statements import Statements

DELIVERIES = "deliveries"
FIRST_TIMES = "first_times"
"""The kinds of allowances."""

LOOKED_AT = 100
"""Deliveries to an address, the newest of all accounts, among which one of the account makes it known."""

BELIEVED = timedelta(seconds=1)
"""How long the book goes by what it read."""


@dataclass(frozen=True, slots=True)
class _Draw:
    """So many are to be used of an allowance."""

    account: str
    kind: str
    rate: Rate
    at: datetime
    count: int

    @property
    def told(self) -> str:
        """The refusal in words, should there be one."""
        what = "deliveries" if self.kind == DELIVERIES else "first-time recipients"
        return f"account {self.account}: {self.count} more {what} are over {self.rate.count} in {self.rate.per}"


class Allowances:
    """The units of one worker; each runs inside a transaction of the writer, which undoes all of one that raises."""

    def __init__(self, statements: Statements, known_for: timedelta) -> None:
        """`known_for` is how long it is kept to whom an account wrote first; counting needs a day of it."""
        self._sql = statements
        self._known_for = max(known_for, DAY)

    def admit(
        self, connection: sqlite3.Connection, new: NewMessage, terms: Terms, events: Sequence[Event], now: datetime
    ) -> Remainder:
        """Return what is to be written of a message; note that as used.

        Raises:
            OverRate: it has more recipients than the account's rate leaves.
            FirstTimeUsedUp: it has more new recipients than the account may have.
        """
        account, at = new.message.account, max(now, new.message.release_at or now)
        remainder = Remainder(new, tuple(events), new.message.id)
        if terms.duplicate is not None:
            remainder = self._without_duplicates(connection, new, terms.duplicate, events, now)
        # a delivery that begins as suppressed reaches nobody
        sent = [delivery for delivery in remainder.new.deliveries if not delivery.state.is_final]
        if not sent:
            return remainder
        if terms.rate is not None:
            self._draw(connection, _Draw(account, DELIVERIES, terms.rate, at, len(sent)), OverRate)
        if terms.first_time_per_day and (strangers := self._strangers(connection, account, sent)):
            daily = Rate(terms.first_time_per_day, DAY)
            self._draw(connection, _Draw(account, FIRST_TIMES, daily, at, len(strangers)), FirstTimeUsedUp)
            met = [{"account": account, "address": address, "now": to_ms(now)} for address in strangers]
            connection.executemany(self._sql["acquaint"], met)
        return remainder

    def purge(self, connection: sqlite3.Connection, now: datetime, limit: int) -> bool:
        """Remove a few things that count nowhere any more; return whether more may be left."""
        over: Params = {"before": to_ms(now), "limit": limit}
        steps: dict[str, Params] = {
            "purge_allowances": over,
            "purge_submissions": over,
            "purge_acquaintances": {"before": to_ms(now - self._known_for), "limit": limit},
        }
        return limit in [connection.execute(self._sql[name], params).rowcount for name, params in steps.items()]

    def _without_duplicates(
        self,
        connection: sqlite3.Connection,
        new: NewMessage,
        duplicate: DuplicateKey,
        events: Sequence[Event],
        now: datetime,
    ) -> Remainder:
        key: Params = {"digest": duplicate.digest, "now": to_ms(now)}
        rows = connection.execute(self._sql["submitted_before"], key).fetchall()
        remainder = without_duplicates(new, events, {row["recipient"]: row["queue_id"] for row in rows})
        noted = {"digest": duplicate.digest, "queue_id": new.message.id, "forget_at": to_ms(now + duplicate.window)}
        connection.executemany(
            self._sql["submitted"],
            [noted | {"recipient": str(one.recipient.mailbox)} for one in remainder.new.deliveries],
        )
        return remainder

    def _strangers(self, connection: sqlite3.Connection, account: str, sent: Sequence[Delivery]) -> list[str]:
        """Return the addresses, in lower case, to which an account never wrote."""
        addresses = {address.lower(): address for address in (str(one.recipient.mailbox) for one in sent)}
        asked = json.dumps(list(addresses.items()))
        params: Params = {"account": account, "asked": asked, "most": LOOKED_AT}
        return [row["address"] for row in connection.execute(self._sql["strangers"], params).fetchall()]

    def _draw(self, connection: sqlite3.Connection, draw: _Draw, refusal: type[UsedUp]) -> None:
        """Use some of an allowance.

        Raises:
            UsedUp: there is not that much left.
        """
        params = _around(draw.account, draw.kind, draw.rate, draw.at)
        row = connection.execute(self._sql["used"], params).fetchone()
        if row["used"] + draw.count > draw.rate.count:
            # what was used before may count in no span with what is to come: only the single uses tell
            uses = [use_from(row) for row in connection.execute(self._sql["uses"], params).fetchall()]
            if draw.count > room(uses, draw.rate, draw.at):
                raise refusal(draw.told, room_again(uses, draw.rate, draw.at, draw.count))
        ends_at = end_of_stretch(draw.at, draw.rate.per)
        connection.execute(
            self._sql["use"],
            {
                "account": draw.account,
                "kind": draw.kind,
                "ends_at": to_ms(ends_at),
                "last_at": to_ms(draw.at),
                "count": draw.count,
                "forget_at": to_ms(ends_at + draw.rate.per),
            },
        )


@dataclass(slots=True)
class _Page:
    """What the book knows of one account."""

    rate: Rate | None = None
    uses: Sequence[Use] = ()
    read_at: float = 0.0
    """By the monotonic clock."""
    reads: int = 0
    accepted: int = 0
    """Here, since it was read."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class AllowanceBook:
    """How much is left, as the door asks before it takes a message: a look that costs nothing most of the time.

    It errs towards room that is not there, since acceptance decides anyway.
    """

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._pages: dict[str, _Page] = {}

    async def remaining(self, account: str, rate: Rate) -> int:
        """Return how many deliveries an account may still queue now.

        The store is asked once a second; what this worker accepted since is known, what others did is not.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        page = self._pages.setdefault(account, _Page())
        if not self._believes(page, rate):
            async with page.turn:
                # somebody who waited here before may have read it
                if not self._believes(page, rate):
                    await self._read(page, account, rate)
        return max(0, room(page.uses, rate, self._clock.now()) - page.accepted)

    def reads(self, account: str) -> int:
        """Return how often the store was read for an account: by this it is seen whether a commit may be in it."""
        page = self._pages.get(account)
        return 0 if page is None else page.reads

    def accepted(self, new: NewMessage, count: int, reads: int) -> None:
        """Take note of a commit of this worker's; `reads` is what was read before it was begun."""
        page = self._pages.get(new.message.account)
        # what waits for its release is used then
        waits = new.message.release_at is not None and new.message.release_at > self._clock.now()
        if page is not None and page.reads == reads and not waits:
            page.accepted += count

    def refused(self, new: NewMessage) -> None:
        """Forget what led to a message that was over the rate."""
        self._pages.pop(new.message.account, None)

    def _believes(self, page: _Page, rate: Rate) -> bool:
        return page.rate == rate and self._clock.monotonic() - page.read_at < BELIEVED.total_seconds()

    async def _read(self, page: _Page, account: str, rate: Rate) -> None:
        uses = await self._reader.uses(_around(account, DELIVERIES, rate, self._clock.now()))
        page.rate, page.uses, page.read_at = rate, uses, self._clock.monotonic()
        page.reads += 1
        # what was committed meanwhile may not be in it: rather too much room than too little
        page.accepted = 0


def _around(account: str, kind: str, rate: Rate, at: datetime) -> Params:
    """Return the parameters that find the uses in every span that a time belongs to."""
    until = at + rate.per + stretch_of(rate.per)
    return {"account": account, "kind": kind, "since": to_ms(at - rate.per), "until": to_ms(until)}
