"""Moves a queue to another machine: `export` holds deliveries and puts them into a file, `take_in` lets them go on.

Nothing is sent twice: a delivery is held here, durably, before the file that has it can be used; and it goes on there
only when all of the file is in the store. Ids, states, attempts and return paths stay as they are, so both machines
must have the same keyring, or reports of what came before will not be known there. Who is suppressed, what was
delivered, and events stay where they are.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mta.clock import Clock
from mta.errors import StoreUnavailable
from mta.mail.ids import IdSource
from mta.queue.model import State
from mta.storage.parcel import Copy, Parcel, add_copy, read_copy
from mta.storage.reading import Reader
from mta.storage.rows import Params, to_ms
from mta.storage.space import FreeSpace
from mta.storage.statements import Statements
from mta.storage.views import QueueRow, Selector
from mta.storage.writer import Writer

T = TypeVar("T")

EXPORTED = "exported"
ARRIVING = "arriving"
"""How the reasons begin for which deliveries are held that are elsewhere now, or not all here yet."""

_STEP = 100
"""Deliveries that are moved in one transaction."""

Progress = Callable[[int], None]
"""Hears how many deliveries, or messages, were dealt with so far."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of an export or an import."""

    id: str
    """The name of the export."""
    deliveries: int
    active: int = 0
    """Not exported, because a worker had them in hand: run it again."""


def _silent(count: int) -> None:
    """Hear of progress and say nothing."""


class Moving:
    """Exports and imports of one store."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        clock: Clock,
        ids: IdSource,
        statements: Statements,
        space: FreeSpace,
        moved: Callable[[], None],
    ) -> None:
        """`moved` is called when something may have become due."""
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._ids = ids
        self._sql = statements
        self._space = space
        self._moved = moved

    async def export(
        self, path: Path, selector: Selector, who: str, reason: str, progress: Progress = _silent
    ) -> Moved:
        """Put queued and held deliveries into a new file, and hold them here with a reason that names the export.

        An export that fails leaves a file that nobody takes in, and deliveries that are held: `mta queue release` lets
        them go on.

        Raises:
            StoreUnavailable: the file cannot be written, or not all were held; the file cannot be used.
        """
        id = self._ids.next()
        count = active = 0
        after = ""
        async with _opened(lambda: Parcel.make(path, id, to_ms(self._clock.now()))) as work:
            await self._note("queue export", id, str(selector), who, reason)
            while rows := await self._reader.select(selector, _STEP, after):
                after = rows[-1].id
                active += sum(row.state is State.ACTIVE for row in rows)
                chosen = [row for row in rows if _may_go(row, id)]
                count += await self._export_step(work, chosen)
                progress(count)
            await work.run(work.parcel.seal)
        return Moved(id, count, active)

    async def take_in(self, path: Path, who: str, reason: str, progress: Progress = _silent) -> Moved:
        """Take in what was exported. All of it is checked first, and nothing is sent before all of it is here: an
        import that was broken off goes on where it was when it is run again.

        Raises:
            StoreUnavailable: the file is not complete or damaged, something of it is here already, or the store cannot
                write; then what was taken in is removed again as far as possible, and is not sent otherwise.
        """
        async with _opened(lambda: Parcel.open(path, to_ms(self._clock.now()))) as work:
            id, held_for = work.parcel.id, f"{ARRIVING} {work.parcel.id}"
            await self._check(work, held_for)
            taken: list[str] = []
            count = 0
            try:
                async for page in work.pages():
                    taken += [copy.message["id"] for copy in page]
                    await self._put_in(page, held_for)
                    count += len(page)
                    progress(count)
            except BaseException:
                await self._take_out(taken, held_for)
                raise
            await self._note("queue import", id, str(path), who, reason)
            return Moved(id, sum([await self._let_in(page, held_for) async for page in work.pages()]))

    async def look_into(self, path: Path) -> Moved:
        """Check all of a file that was exported against what is here, and take in nothing.

        Raises:
            StoreUnavailable: it could not be taken in; the message says why.
        """
        async with _opened(lambda: Parcel.open(path, to_ms(self._clock.now()))) as work:
            return Moved(work.parcel.id, await self._check(work, f"{ARRIVING} {work.parcel.id}"))

    async def _export_step(self, work: "_Work", rows: Sequence[QueueRow]) -> int:
        """Write deliveries into the file, then hold them; what has moved meanwhile is taken out again."""
        if not rows:
            return 0
        copies = await self._writer.run(lambda connection: self._read(connection, rows))
        await work.run(lambda: work.parcel.add(copies))
        states = {delivery["id"]: delivery["state"] for copy in copies for delivery in copy.deliveries}
        held: Params = {"reason": f"{EXPORTED} {work.parcel.id}", "now": to_ms(self._clock.now())}

        def unit(connection: sqlite3.Connection) -> set[str]:
            moves = [held | {"id": id, "was": state} for id, state in states.items()]
            return {move["id"] for move in moves if connection.execute(self._sql["note_exported"], move).fetchone()}

        done = await self._writer.run(unit)
        if missed := set(states) - done:
            await work.run(lambda: work.parcel.drop(missed))
        return len(done)

    def _read(self, connection: sqlite3.Connection, rows: Sequence[QueueRow]) -> list[Copy]:
        ids: Params = {"ids": json.dumps([row.id for row in rows])}
        deliveries = [
            row
            for row in connection.execute(self._sql["copied_deliveries"], ids).fetchall()
            if row["state"] in (State.QUEUED, State.HELD)
        ]
        wanted: Params = {"ids": json.dumps(sorted({row["queue_id"] for row in deliveries}))}
        return [
            read_copy(connection, self._sql, message, [row for row in deliveries if row["queue_id"] == message["id"]])
            for message in connection.execute(self._sql["copied_messages"], wanted).fetchall()
        ]

    async def _check(self, work: "_Work", held_for: str) -> int:
        """Look at everything in a parcel before anything is written; return how many deliveries are in it.

        Raises:
            StoreUnavailable: it cannot be taken in.
        """
        count = 0
        async for page in work.pages():
            count += sum(len(copy.deliveries) for copy in page)
            for copy in page:
                work.parcel.verify(copy)
            sums = {copy.message["id"]: copy.message["checksum"] for copy in page}
            for known in await self._reader.known_ids([id for copy in page for id in _ids_of(copy)]):
                if known.checksum is not None and known.checksum != sums.get(known.id):
                    raise StoreUnavailable(f"message {known.id} is another one in this store; nothing was taken in")
                if known.checksum is None and known.hold_reason != held_for:
                    raise StoreUnavailable(f"delivery {known.id} is in this store already; nothing was taken in")
        return count

    async def _put_in(self, page: Sequence[Copy], held_for: str) -> None:
        def unit(connection: sqlite3.Connection) -> None:
            self._space.require()
            changes = {"state": State.HELD.value, "hold_reason": held_for, "held_since": to_ms(self._clock.now())}
            for copy in page:
                # an import that is run again finds some of it here
                ids: Params = {"ids": json.dumps([row["id"] for row in copy.deliveries])}
                there = {row["id"] for row in connection.execute(self._sql["copied_deliveries"], ids).fetchall()}
                missing = tuple(row for row in copy.deliveries if row["id"] not in there)
                add_copy(connection, self._sql, Copy(copy.message, copy.contents, missing), changes)

        await self._writer.run(unit)

    async def _take_out(self, queue_ids: Sequence[str], held_for: str) -> None:
        for start in range(0, len(queue_ids), _STEP):
            wanted: Params = {"ids": json.dumps(queue_ids[start : start + _STEP]), "reason": held_for}

            def unit(connection: sqlite3.Connection, wanted: Params = wanted) -> None:
                for row in connection.execute(self._sql["forget_arrived"], wanted).fetchall():
                    connection.execute(self._sql["forget_octets"], dict(row))

            await self._writer.run(unit, patient=True)

    async def _let_in(self, page: Sequence[Copy], held_for: str) -> int:
        def unit(connection: sqlite3.Connection) -> int:
            done = 0
            for row in (row for copy in page for row in copy.deliveries):
                old = {name: row[name] for name in ("id", "state", "hold_reason", "held_since")}
                done += connection.execute(self._sql["let_in"], old | {"reason": held_for}).fetchone() is not None
            return done

        done = await self._writer.run(unit)
        self._moved()
        return done

    async def _note(self, action: str, id: str, what: str, who: str, reason: str) -> None:
        audit = {
            "id": self._ids.next(),
            "now": to_ms(self._clock.now()),
            "who": who,
            "action": action,
            "target": id,
            "reason": reason,
            "detail": json.dumps({"what": what}),
        }
        await self._writer.run(lambda connection: connection.execute(self._sql["insert_audit"], audit).rowcount)


class _Work:
    """A parcel, and the one thread that may touch it."""

    def __init__(self, parcel: Parcel, thread: ThreadPoolExecutor) -> None:
        self.parcel = parcel
        self._thread = thread

    async def run(self, work: Callable[[], T]) -> T:
        """Do something with the parcel on its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def pages(self) -> AsyncIterator[Sequence[Copy]]:
        """Yield what is in the parcel, some messages at a time."""
        pages = self.parcel.pages()
        while page := await self.run(lambda: next(pages, None)):
            yield page


@asynccontextmanager
async def _opened(make: Callable[[], Parcel]) -> AsyncIterator[_Work]:
    """Open a parcel on a thread of its own.

    Raises:
        StoreUnavailable: it cannot be opened, read or written.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "mta-parcel") as thread:
        try:
            parcel = await loop.run_in_executor(thread, make)
            try:
                yield _Work(parcel, thread)
            finally:
                await loop.run_in_executor(thread, parcel.close)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the file of the export cannot be read or written: {error}") from error


def _may_go(row: QueueRow, id: str) -> bool:
    """Whether a delivery may be exported: not while it is in somebody's hands, nor when it is elsewhere already."""
    away = (row.hold_reason or "").startswith((EXPORTED, ARRIVING))
    return row.state in (State.QUEUED, State.HELD) and not away


def _ids_of(copy: Copy) -> list[str]:
    return [copy.message["id"], *(row["id"] for row in copy.deliveries)]
