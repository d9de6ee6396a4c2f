"""Reads the store on a connection of its own, beside the writer or from another process, with or without a server.

Each method is one statement and so one short read transaction: a long one would keep the log from being recycled.
"""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

import aiosqlite

from mta.accounts.allowance import Use
from mta.accounts.standing import Standing
from mta.clock import Clock
from mta.errors import Damaged, StoreUnavailable
from mta.events import Event, EventType
from mta.mail.address import Mailbox
from mta.mail.ids import first_at
from mta.mail.token import GroupPath
from mta.queue.lanes import Lane
from mta.queue.model import Content, Message, Pause, SiteRest, State, Stream
from mta.queue.returned import Filed, Member, ReturnNote
from mta.reputation.rates import Tally
from mta.reputation.suppression import Suppression
from mta.storage.connect import BUSY_TIMEOUT, translate, uri_of
from mta.storage.migrate import migrations, refuse_newer
from mta.storage.rows import (
    Params,
    event_from,
    filed_from,
    from_ms,
    message_from,
    pause_from,
    queue_row_from,
    rest_from,
    return_from,
    slot_from,
    standing_from,
    suppression_from,
    to_ms,
    use_from,
)
from mta.storage.statements import Statements
from mta.storage.views import KnownId, QueueRow, Selector, StoredAccount, Total, WaitingLane

MAX_FOUND = 100
WHOLE = ""
"""The stream of a standing that is the account's as a whole."""
_LOOKED_AT = 1000
"""Rows that are looked at in one step for what no index knows."""
_CHUNK = 64
"""Rows that are fetched at once."""
_HASH_HERE = 256 * 1024
"""Octets that are hashed in the event loop; more goes to a thread (about 1 ms)."""


class Reader:
    """Everything that is read and not changed."""

    def __init__(self, connection: aiosqlite.Connection, path: str, clock: Clock, statements: Statements) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self._sql = statements

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str, clock: Clock) -> AsyncIterator[Self]:
        """Open a store that exists.

        Raises:
            StoreUnavailable: there is none, it is of another version, or unreadable; the message says what to do.
        """
        if not await asyncio.to_thread(Path(path).exists):
            raise StoreUnavailable(f"{path}: there is no store yet; `mta serve` makes it")
        try:
            # not read-only: after a crash the first one to open the file has to bring its log in order
            # opened here: aiosqlite's own thread would outlive the event loop when it cannot be opened
            opened = await asyncio.to_thread(_opened, path)
            async with aiosqlite.Connection(lambda: opened, iter_chunk_size=_CHUNK) as connection:
                await connection.execute_fetchall("PRAGMA query_only = ON")
                connection.row_factory = sqlite3.Row
                reader = cls(connection, path, clock, Statements.load())
                await reader._check_version()
                yield reader
        except sqlite3.Error as error:
            raise translate(path, error) from error

    async def content(self, queue_id: str) -> Content:
        """Return a message's octets, after comparing them with its checksum.

        Raises:
            Damaged: the octets are not those that were accepted, or are gone.
            StoreUnavailable: they cannot be read now.
        """
        rows = await self._all("content", {"queue_id": queue_id})
        if not rows or len(rows) != rows[0]["pieces"]:
            raise Damaged(f"{self._path}: message {queue_id}: its octets are gone, or a part of them is")
        header_size = rows[0]["header_size"]
        first, *others = (bytes(row["octets"]) for row in rows)
        header, body = first[:header_size], (first[header_size:], *others)
        content = Content(header, tuple(piece for piece in body if piece))
        small = sum(map(len, body)) <= _HASH_HERE
        checksum = _checksum(content) if small else await asyncio.to_thread(_checksum, content)
        if checksum != rows[0]["checksum"]:
            raise Damaged(f"{self._path}: message {queue_id}: its octets are not those that were accepted")
        return content

    async def waiting_lanes(self) -> list[WaitingLane]:
        """Return all lanes that have something waiting, with the time when the first of it is due.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        rows = await self._all("waiting_lanes", {"streams": json.dumps(list(Stream))})
        return [WaitingLane(Lane(Stream(row["stream"]), row["account"]), from_ms(row["due_at"])) for row in rows]

    async def next_lapse(self, after: datetime | None = None) -> datetime | None:
        """Return when the next lease runs out, of those that had not run out at a time; None when there is none.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        (row,) = await self._all("next_lapse", {"after": 0 if after is None else to_ms(after)})
        return None if row["lease_until"] is None else from_ms(row["lease_until"])

    async def pauses(self) -> list[Pause]:
        """Return what is not to be delivered for now.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return [pause_from(row) for row in await self._all("pauses", {})]

    async def rests(self) -> list[SiteRest]:
        """Return the sites that are left alone now, by name.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return [rest_from(row) for row in await self._all("rests", {"now": to_ms(self._clock.now())})]

    async def message(self, queue_id: str) -> Message | None:
        """Return a message, or None when the store does not know it."""
        rows = await self._all("message", {"queue_id": queue_id})
        return message_from(rows[0]) if rows else None

    async def select(self, selector: Selector, limit: int = 100, after: str = "") -> list[QueueRow]:
        """Return deliveries in the order of their ids, behind one of them."""
        older, state = selector.older_than, selector.state
        params: Params = {
            "id": selector.id,
            "account": selector.account,
            "domain": None if selector.domain is None else selector.domain.lower(),
            "state": None if state is None else state.value,
            "accepted_before": None if older is None else to_ms(self._clock.now() - older),
            "tag": selector.tag,
            "site": selector.site,
            "stream": selector.stream,
            "hold_reason": selector.hold_reason,
            "after": after,
            "limit": limit,
        }
        if selector.id is not None:
            return [queue_row_from(row) for row in await self._all("rows_by_id", params)]
        if state is not None and state.is_final:
            return [queue_row_from(row) for row in await self._all("rows_final", params)]
        return await self._select_open(selector, params, limit)

    async def _select_open(self, selector: Selector, params: Params, limit: int) -> list[QueueRow]:
        """Read open deliveries by the index of their state: neither history nor those before the first slow it down."""
        names = [f"ids_{selector.state}"] if selector.state else ["ids_queued", "ids_active", "ids_held"]
        # what the index does not know is looked for in the rows
        in_rows = (selector.tag, selector.site, selector.hold_reason) != (None, None, None)
        window = max(limit, _LOOKED_AT) if in_rows else limit
        found: list[QueueRow] = []
        while len(found) < limit:
            ids = sorted([row["id"] for name in names for row in await self._all(name, params | {"limit": window})])[
                :window
            ]
            rows = await self._all("rows_of", params | {"ids": json.dumps(ids), "limit": limit - len(found)})
            found += [queue_row_from(row) for row in rows]
            if len(ids) < window:
                break
            params |= {"after": ids[-1]}
        return found

    async def totals(self) -> dict[State, Total]:
        """Count queued, active and held deliveries: cheap enough to be asked at every scrape."""
        totals = {}
        for row in await self._all("totals", {}):
            oldest = await self._all("accepted_at", {"id": row["oldest"]}) if row["count"] else []
            totals[State(row["state"])] = Total(row["count"], from_ms(oldest[0]["accepted_at"]) if oldest else None)
        return totals

    async def find(self, text: str) -> list[str]:
        """Return the queue ids that a text means, newest first: a queue id, delivery id, Message-ID or recipient."""
        params: Params = {"text": text, "bracketed": f"<{text}>", "recipient": _folded(text), "limit": MAX_FOUND}
        return [row["queue_id"] for row in await self._all("find", params)]

    async def events_of(self, queue_id: str, limit: int = 10_000) -> list[Event]:
        """Return a message's story."""
        rows = await self._all("events_of", {"queue_id": queue_id, "limit": limit})
        return [event_from(row) for row in rows]

    async def events(
        self,
        since: datetime | None = None,
        type: EventType | None = None,
        account: str | None = None,
        after_id: str = "",
        limit: int = 1000,
    ) -> list[Event]:
        """Return events in the order of their commits, behind one of them: a reader that goes on so misses none."""
        params: Params = {
            "since": 0 if since is None else to_ms(since),
            "first": "" if since is None else first_at(since),
            "type": None if type is None else type.value,
            "account": account,
            "after": after_id,
            "limit": limit,
        }
        return [event_from(row) for row in await self._all("events", params)]

    async def events_about(self, recipient: str, limit: int = 1000) -> list[Event]:
        """Return the newest events about an address that belong to no message's story, oldest first.

        An operator's change of its suppression is such a one, and a complaint about a delivery that was forgotten.
        """
        rows = await self._all("events_about", {"recipient": _folded(recipient), "limit": limit})
        return [event_from(row) for row in rows]

    async def file(self, delivery_id: str) -> Filed | None:
        """Return a delivery in whatever state it is; None when nothing is known of it (any more).

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        rows = await self._all("filed", {"id": delivery_id})
        try:
            return filed_from(rows[0]) if rows else None
        except ValueError as error:
            raise StoreUnavailable(f"{self._path}: delivery {delivery_id} is unreadable: {error}") from error

    async def members(self, path: GroupPath, addresses: Collection[str]) -> list[Member]:
        """Return the deliveries with a shared return path that are to one of some addresses.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        folded = json.dumps([one.lower() for one in addresses if one.isascii()])
        params: Params = {"queue_id": path.queue_id, "local_part": path.local_part, "addresses": folded}
        return [Member(row["id"], row["recipient"]) for row in await self._all("members", params)]

    async def suppression(self, account: str, address: Mailbox) -> Suppression | None:
        """Return an entry of an account's list, also one that has ended: ask whether it `holds`."""
        rows = await self._all("suppression", {"account": account, "address": str(address)})
        return suppression_from(rows[0]) if rows else None

    async def suppressed(self, limit: int) -> frozenset[tuple[str, str]]:
        """Return account and address of the entries of all accounts' lists, also of those that have ended; of more
        than `limit`, any."""
        return frozenset((row["account"], row["address"]) for row in await self._all("suppressed", {"limit": limit}))

    async def suppressions(
        self, account: str | None = None, after: Suppression | None = None, limit: int = 100
    ) -> list[Suppression]:
        """Return entries that hold now, by account and address, behind one of them."""
        params: Params = {
            "account": account,
            "now": to_ms(self._clock.now()),
            "after_account": "" if after is None else after.account,
            "after_address": "" if after is None else str(after.address),
            "limit": limit,
        }
        rows = await self._all("suppressions" if account is None else "suppressions_of_account", params)
        return [suppression_from(row) for row in rows]

    async def suppressions_of(
        self, address: Mailbox, account: str | None = None, limit: int = 100
    ) -> list[Suppression]:
        """Return the entries of an address that hold now, on all accounts' lists or on one."""
        now = to_ms(self._clock.now())
        params: Params = {"address": str(address), "account": account, "now": now, "limit": limit}
        return [suppression_from(row) for row in await self._all("suppressions_of_address", params)]

    async def returns(
        self, kind: str | None = None, since: datetime | None = None, limit: int = 100
    ) -> list[ReturnNote]:
        """Return notes of what came back, newest first; a letter's octets are had by `letter`."""
        params: Params = {"kind": kind, "since": 0 if since is None else to_ms(since), "limit": limit}
        return [return_from(row) for row in await self._all("returns", params)]

    async def rejected_reports(self, since: datetime | None = None, limit: int = 100) -> list[ReturnNote]:
        """Return notes of reports that had no token of ours, newest first."""
        params: Params = {"since": 0 if since is None else to_ms(since), "limit": limit}
        return [return_from(row) for row in await self._all("rejected", params)]

    async def letter(self, id: str) -> ReturnNote | None:
        """Return one note with its octets, or None."""
        rows = await self._all("return", {"id": id})
        return return_from(rows[0]) if rows else None

    async def known_ids(self, ids: Sequence[str]) -> list[KnownId]:
        """Return those of some ids that are in the store, of messages and of deliveries."""
        rows = await self._all("known_ids", {"ids": json.dumps(list(ids))})
        return [KnownId(row["id"], row["checksum"], row["hold_reason"]) for row in rows]

    async def standings(self) -> list[Standing]:
        """Return every standing that was ever written, by account and stream."""
        return [standing_from(row) for row in await self._all("standings", {})]

    async def known_standings(self, account: str | None = None) -> list[Standing]:
        """Return the standing of every stream that was counted, and what else was ever written, by account and stream.

        Reads all counts: for people, not for a loop.
        """
        return [standing_from(row) for row in await self._all("known_standings", {"account": account})]

    async def slots(self, standing: Standing, since: int) -> list[tuple[int, Tally]]:
        """Return the counts of a standing's epoch by slot, from a slot on. For the account as a whole (stream empty):
        of all its streams, each in its own epoch."""
        params: Params = {"account": standing.account, "since": since}
        if standing.stream == WHOLE:
            params["streams"] = json.dumps(list(Stream))
            rows = await self._all("slots_of_streams", params)
        else:
            rows = await self._all("slots", params | {"stream": standing.stream, "epoch": standing.epoch})
        return [slot_from(row) for row in rows]

    async def uses(self, params: Params) -> list[Use]:
        """Return what an account used of an allowance in the spans that the parameters tell.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return [use_from(row) for row in await self._all("uses", params)]

    async def account(self, name: str) -> StoredAccount | None:
        """Return an account made by command, or None."""
        rows = await self._all("account", {"name": name})
        return _account(rows[0]) if rows else None

    async def accounts(self) -> list[StoredAccount]:
        """Return the accounts made by command, by name."""
        return [_account(row) for row in await self._all("accounts", {})]

    async def rows(self, name: str, params: Params) -> Sequence[sqlite3.Row]:
        """Return the rows of a statement that only reads: for what is built on this.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        return await self._all(name, params)

    async def _check_version(self) -> None:
        tables = await self._connection.execute_fetchall("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'")
        version = (await self._all("schema_version", {}))[0][0] if tables else 0
        known = len(migrations())
        refuse_newer(self._path, version, known)
        if version < known:
            raise StoreUnavailable(
                f"{self._path}: the store is of an older version of mta (schema {version}; this one needs {known}); "
                "restart `mta serve`, which brings it up to date"
            )

    async def _all(self, name: str, params: Params) -> Sequence[sqlite3.Row]:
        try:
            return list(await self._connection.execute_fetchall(self._sql[name], params))
        except sqlite3.Error as error:
            raise translate(self._path, error) from error
        except ValueError as error:
            # aiosqlite's word for a closed connection
            raise StoreUnavailable(f"{self._path}: {error}") from error


def _opened(path: str) -> sqlite3.Connection:
    return sqlite3.connect(uri_of(path), uri=True, isolation_level=None, timeout=BUSY_TIMEOUT, check_same_thread=False)


def _checksum(content: Content) -> bytes:
    digest = hashlib.sha256(content.header)
    digest.update(b"\r\n")
    for piece in content.body:
        digest.update(piece)
    return digest.digest()


def _folded(address: str) -> str:
    # only the domain is case-folded (RFC 5321 §2.4)
    local_part, _, domain = address.rpartition("@")
    return f"{local_part}@{domain.lower()}"


def _account(row: sqlite3.Row) -> StoredAccount:
    return StoredAccount(row["name"], row["data"], from_ms(row["created_at"]), from_ms(row["changed_at"]))
