"""Outcomes that the store could not take, in a file of their own that needs no space when the disk has none left.

The file is made at its full size when the server starts, and has slots of one size. An entry is written into a free
one, with its length and checksum, and synced before anybody goes on; one that was cut by a crash does not check and
counts as free. What is written when, is the ledger's business.
"""

import asyncio
import json
import logging
import os
import struct
import zlib
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from mta.clock import Clock
from mta.events import Event, EventType
from mta.events_json import event_from_json, event_to_json
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome
from mta.mail.reply import Reply

SLOT = 4096
SLOTS = 1024
"""As many as attempts can be under way, twice; four MiB in all."""

STALE = timedelta(days=7)
"""No delivery is still to be settled with what was kept so long ago."""

_HEAD = struct.Struct(">4sII")
_MAGIC = b"MTAJ"
_FREE = b"\0" * _HEAD.size
_SHORT_TEXT = 400
"""Characters of a reply that are kept when all that an outcome tells does not fit into a slot."""
_KINDS = {EventType.DELIVERED: Delivered, EventType.DEFERRED: Deferred, EventType.BOUNCED: Bounced}

_log = logging.getLogger("mta.storage")


class _Entry(Struct, frozen=True):
    """One kept outcome."""

    slot: int
    delivery_id: str
    attempt: int
    outcome: Outcome
    at: datetime
    """When it was kept."""


class FileJournal:
    """One worker's journal. What others left in theirs is read at the start, so that a take-over knows it, too."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """`path` is this worker's own file; those of others stand beside it with the same suffix."""
        self._path = path
        self._clock = clock
        self._file: int | None = None
        self._entries: dict[str, _Entry] = {}
        self._free = list(range(SLOTS - 1, -1, -1))
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        if self._entries:
            _log.warning("%d outcomes are in the journal %s and will be written down", len(self._entries), self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def read_others(self) -> None:
        """Read anew what other workers keep: one that died left it to whoever takes over its deliveries."""
        for entry in await asyncio.to_thread(self._of_others):
            mine = self._entries.get(entry.delivery_id)
            if mine is None or mine.slot < 0:
                self._entries[entry.delivery_id] = entry

    def find(self, delivery_id: str, attempt: int) -> Outcome | None:
        """Return what an attempt came to; None when nothing is kept of it."""
        entry = self._entries.get(delivery_id)
        return entry.outcome if entry is not None and entry.attempt == attempt else None

    async def keep(self, delivery_id: str, attempt: int, outcome: Outcome) -> bool:
        """Put an outcome on stable storage; whether that was possible."""
        async with self._lock:
            if (before := self._entries.get(delivery_id)) is not None and before.slot >= 0:
                self._clear(before)
            why = await self._try_to_keep(delivery_id, attempt, outcome)
        if why is not None:
            _log.error("the outcome of delivery %s is in memory only: journal %s: %s", delivery_id, self._path, why)
        return why is None

    async def _try_to_keep(self, delivery_id: str, attempt: int, outcome: Outcome) -> str | None:
        if self._file is None:
            return "it could not be opened"
        if not self._free:
            return "it is full"
        entry = _Entry(self._free.pop(), delivery_id, attempt, outcome, self._clock.now())
        try:
            await asyncio.to_thread(_write, self._file, entry)
        except (OSError, ValueError) as error:
            # to the far end: after a failed sync nobody knows what is in it
            self._free.insert(0, entry.slot)
            return str(error)
        self._entries[delivery_id] = entry
        return None

    def forget(self, delivery_id: str) -> None:
        """Drop what is kept of a delivery. Not synced: an entry that comes back after a crash names an attempt that was
        counted meanwhile, and is found by nobody."""
        entry = self._entries.pop(delivery_id, None)
        if entry is not None and entry.slot >= 0:
            self._clear(entry)

    def _clear(self, entry: _Entry) -> None:
        self._entries.pop(entry.delivery_id, None)
        self._free.append(entry.slot)
        if self._file is not None:
            try:
                os.pwrite(self._file, _FREE, entry.slot * SLOT)
            except OSError as error:
                _log.error("journal %s: %s", self._path, error.strerror)

    def _open(self) -> None:
        for entry in self._of_others():
            self._entries[entry.delivery_id] = entry
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(self._file, 0, SLOT * SLOTS)
            os.fsync(self._file)
        except OSError as error:
            _log.error("no journal for outcomes that the store cannot take: %s: %s", self._path, error.strerror)
            if self._file is not None:
                os.close(self._file)
                self._file = None
            return
        for entry in _read(self._path):
            self._free.remove(entry.slot)
            if self._clock.now() - entry.at > STALE:
                # written down, but not forgotten: we ended between the two
                self._clear(entry)
            else:
                self._entries[entry.delivery_id] = entry

    def _of_others(self) -> list[_Entry]:
        paths = sorted(self._path.parent.glob(f"*{self._path.suffix}"))
        # their owners' to clear; known here until then
        return [replace(entry, slot=-1) for path in paths if path != self._path for entry in _read(path)]


def _write(file: int, entry: _Entry) -> None:
    payload = _payload(entry)
    data = _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload
    if os.pwrite(file, data, entry.slot * SLOT) != len(data):
        raise OSError("it was written in part only")
    os.fdatasync(file)


def _read(path: Path) -> list[_Entry]:
    """Return the entries of a file that check; what does not is a slot that was never written, or cut by a crash."""
    try:
        octets = path.read_bytes()[: SLOT * SLOTS]
    except OSError as error:
        _log.error("journal %s cannot be read: %s", path, error.strerror)
        return []
    found = []
    for slot in range(len(octets) // SLOT):
        magic, size, checksum = _HEAD.unpack_from(octets, slot * SLOT)
        payload = octets[slot * SLOT + _HEAD.size : slot * SLOT + _HEAD.size + size]
        if magic != _MAGIC or size > SLOT - _HEAD.size or zlib.crc32(payload) != checksum:
            continue
        try:
            found.append(_entry(slot, json.loads(payload)))
        except (ValueError, KeyError, TypeError) as error:
            _log.error("journal %s, slot %d: %s", path, slot, error)
    return found


def _payload(entry: _Entry) -> bytes:
    """An outcome as the event that it would be, which has the one form there is for replies and tries."""
    outcome, room = entry.outcome, SLOT - _HEAD.size
    reply, tries = outcome.reply, outcome.tries
    for _ in range(3):
        kind = next(kind for kind, made in _KINDS.items() if isinstance(outcome, made))
        detail = {
            "in_doubt": isinstance(outcome, Deferred) and outcome.in_doubt,
            "will_notify": isinstance(outcome, Delivered) and outcome.will_notify,
        }
        event = Event(
            "",
            entry.at,
            kind,
            None,
            None,
            delivery_id=entry.delivery_id,
            attempt=entry.attempt,
            reply=reply,
            tries=tries,
            detail=detail,
        )
        payload = json.dumps(event_to_json(event), separators=(",", ":"), ensure_ascii=False).encode()
        if len(payload) <= room:
            return payload
        # what decides is the reply, and how far the last host got
        reply = _short(reply)
        tries = tuple(replace(one, reply=_short(one.reply), tls=None) for one in tries[-1:])
    raise ValueError(f"the outcome of delivery {entry.delivery_id} does not fit into {room} octets")


def _short(reply: Reply) -> Reply:
    return Reply(reply.code, reply.status, reply.text[:_SHORT_TEXT])


def _entry(slot: int, data: dict[str, Any]) -> _Entry:
    event = event_from_json(data)
    if event.reply is None or event.delivery_id is None or event.attempt is None:
        raise ValueError("an entry without a reply")
    outcome: Outcome
    match event.type:
        case EventType.DELIVERED:
            outcome = Delivered(event.reply, event.tries, bool(event.detail.get("will_notify")))
        case EventType.DEFERRED:
            outcome = Deferred(event.reply, event.tries, bool(event.detail.get("in_doubt")))
        case EventType.BOUNCED:
            outcome = Bounced(event.reply, event.tries)
        case _:
            raise ValueError(f"no outcome: {event.type}")
    return _Entry(slot, event.delivery_id, event.attempt, outcome, event.at)
