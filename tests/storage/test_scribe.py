"""Messages that a process of its own writes: the same as the writer's, none lost or doubled whatever becomes of it."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mta.accounts.account import Rate
from mta.accounts.allowance import Terms
from mta.errors import StoreFull, StoreUnavailable
from mta.events import Event, EventType
from mta.queue.model import NewMessage
from mta.queue.store import Accepted
from mta.storage.connect import connect
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask, open_store

HELPER = (sys.executable, "-m", "mta.storage.scribe_main")
TABLES = ("messages", "contents", "deliveries", "events")


@dataclass
class Desk:
    """A store, and what its own writer was made to write."""

    store: SqliteStore
    path: str
    clock: FakeClock
    statements: list[str]
    letters: Letters = field(init=False)

    def __post_init__(self) -> None:
        self.letters = Letters(self.clock)

    def new(self, octets: int = 100) -> NewMessage:
        return self.letters.new(["a@example.net"], body=b"x" * octets)

    async def accept(self, new: NewMessage, lease: int = 0) -> Accepted:
        event = Event(self.letters.ids.next(), self.clock.now(), EventType.ACCEPTED, queue_id=new.message.id)
        return await self.store.accept(new, [event], lease)

    async def is_helped(self, new: NewMessage, lease: int = 0) -> bool:
        """Accept a message; return whether the writer had nothing to do with it."""
        self.statements.clear()
        accepted = await self.accept(new, lease)
        assert accepted.queue_id == new.message.id
        return not any("ordinary_messages" in text or "BEGIN" in text for text in self.statements)

    async def helped(self) -> None:
        """Wait until messages are written by the process."""
        async with asyncio.timeout(30):
            while not await self.is_helped(self.new()):  # noqa: ASYNC110  nothing tells when it is ready
                await asyncio.sleep(0.02)

    def pids(self) -> list[int]:
        """The processes that help with this file."""
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
                if b"mta.storage.scribe_main" in words and self.path.encode() in words:
                    found.append(int(folder.name))
        return found

    def written(self) -> list[str]:
        return [str(row[0]) for row in ask(self.path, "SELECT id FROM messages ORDER BY id")]


@asynccontextmanager
async def opened(path: str, clock: FakeClock, helper: Sequence[str] | None = HELPER) -> AsyncIterator[Desk]:
    statements: list[str] = []

    def opener(path: str) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(statements.append)
        return connection

    async with open_store(path, clock, opener=opener, helper=helper) as store:
        yield Desk(store, path, clock, statements)


@pytest.fixture
async def desk(path: str, clock: FakeClock) -> AsyncIterator[Desk]:
    async with opened(path, clock) as desk:
        await desk.helped()
        yield desk


async def test_what_it_writes_is_what_the_writer_writes(tmp_path: Path, clock: FakeClock) -> None:
    rows: list[list[list[tuple[object, ...]]]] = []
    for name, helper in (("helped.db", HELPER), ("alone.db", None)):
        path = str(tmp_path / name)
        async with opened(path, clock, helper) as desk:
            if helper is not None:
                await desk.helped()
                for table in TABLES:
                    ask(path, f"DELETE FROM {table}")
            desk.letters = Letters(clock, worker=5)
            new = [desk.new(octets) for octets in (1, 4000, 250_000, *[100] * 100)]
            desk.statements.clear()
            came = await asyncio.gather(*map(desk.accept, new))
            assert [one.queue_id for one in came] == [one.message.id for one in new]
            assert [[each.type for each in one.events] for one in came] == [[EventType.ACCEPTED]] * len(new)
            assert any("ordinary_messages" in text for text in desk.statements) is (helper is None)
            assert [await desk.store.content(one.message.id) for one in new] == [one.content for one in new]
            columns = {
                table: [str(row[1]) for row in ask(path, f"PRAGMA table_info({table})") if row[1] != "content_at"]
                for table in TABLES
                if table != "contents"
            }
            rows.append(
                [ask(path, f"SELECT {', '.join(names)} FROM {table} ORDER BY id") for table, names in columns.items()]
            )
    assert rows[0] == rows[1]


async def test_what_is_attempted_at_once_or_counted_is_the_writers(desk: Desk) -> None:
    assert await desk.is_helped(desk.new())
    assert not await desk.is_helped(desk.new(), lease=1)
    assert not await desk.is_helped(replace(desk.new(), terms=Terms(Rate(100, timedelta(hours=1)), 0, None)))
    assert not await desk.is_helped(desk.letters.new(["a@example.net", "b@example.net"]))
    assert await desk.is_helped(desk.new())


async def test_while_the_writer_has_other_work_everything_is_committed_together(desk: Desk) -> None:
    await desk.store.check()
    assert not await desk.is_helped(desk.new())
    await desk.helped()


async def test_what_cannot_be_packed_is_for_the_writer_and_spoils_no_other(desk: Desk) -> None:
    good, odd, fine = desk.new(), desk.new(), desk.new()
    odd = replace(odd, message=replace(odd.message, tag="\ud800"))
    first, failed, last = await asyncio.gather(*map(desk.accept, (good, odd, fine)), return_exceptions=True)
    assert isinstance(first, Accepted)
    assert isinstance(failed, Exception)
    assert isinstance(last, Accepted)
    assert (odd.message.id in desk.written(), await desk.is_helped(desk.new())) == (False, True)


async def test_one_that_is_there_already_spoils_no_other(desk: Desk) -> None:
    twice, fine = desk.new(), desk.new()
    await desk.accept(twice)
    failed, accepted = await asyncio.gather(desk.accept(twice), desk.accept(fine), return_exceptions=True)
    assert isinstance(failed, StoreUnavailable)
    assert isinstance(accepted, Accepted)


async def test_a_lock_that_another_process_holds_is_waited_for(desk: Desk) -> None:
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(desk.accept(new := desk.new()))
        # longer than the process waits: then it is the writer's turn
        await asyncio.sleep(1.3)
        assert not waiting.done()
        other.execute("ROLLBACK")
        assert (await waiting).queue_id == new.message.id


async def test_a_disk_that_is_too_full_is_told_as_ever(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock, min_free=1.0, helper=HELPER) as store:
        desk = Desk(store, path, clock, [])
        async with asyncio.timeout(30):
            while not desk.pids():  # noqa: ASYNC110  nothing tells when it is there
                await asyncio.sleep(0.02)
        for _ in range(20):
            with pytest.raises(StoreFull):
                await desk.accept(desk.new())
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("times", range(3))
async def test_when_it_is_killed_each_message_is_there_or_refused_and_the_writer_goes_on(
    desk: Desk, times: int
) -> None:
    new = [desk.new(3000) for _ in range(400)]
    tasks = [asyncio.create_task(desk.accept(one)) for one in new]
    (pid,) = desk.pids()
    await asyncio.wait(tasks[: 40 * (times + 1)])
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        came = await asyncio.gather(*tasks, return_exceptions=True)
    accepted = [one.queue_id for one in came if isinstance(one, Accepted)]
    assert all(isinstance(one, Accepted | StoreUnavailable) for one in came)
    assert len(accepted) >= len(new) - 32
    assert set(accepted) <= set(desk.written())
    refused = {one.message.id for one, what in zip(new, came, strict=True) if not isinstance(what, Accepted)}
    assert refused.isdisjoint(desk.written())
    assert not await desk.is_helped(desk.new())


async def test_stopped_in_the_midst_and_killed_it_leaves_doubt_that_is_looked_into(desk: Desk) -> None:
    (pid,) = desk.pids()
    os.kill(pid, signal.SIGSTOP)
    tasks = [asyncio.create_task(desk.accept(desk.new())) for _ in range(100)]
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in tasks)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        came = await asyncio.gather(*tasks, return_exceptions=True)
    # what it had been given was not written, what waited behind it is for the writer
    assert sum(isinstance(one, StoreUnavailable) for one in came) == 32
    assert {one.queue_id for one in came if isinstance(one, Accepted)} <= set(desk.written())


async def test_it_finishes_what_it_has_and_ends_when_the_store_is_closed(path: str, clock: FakeClock) -> None:
    async with opened(path, clock) as desk:
        await desk.helped()
        tasks = [asyncio.create_task(desk.accept(desk.new())) for _ in range(100)]
        await asyncio.sleep(0)
    came = await asyncio.gather(*tasks)
    assert {one.queue_id for one in came} <= set(desk.written())
    assert desk.pids() == []


@pytest.mark.parametrize("helper", [("/nowhere/python",), (sys.executable, "-c", "raise SystemExit(3)")])
async def test_without_it_all_goes_on_and_the_operator_is_told(
    path: str, clock: FakeClock, helper: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(path, clock, helper) as desk:
        async with asyncio.timeout(30):
            while "helps to write" not in caplog.text:  # noqa: ASYNC110  nothing tells when it is said
                await asyncio.sleep(0.02)
        assert not await desk.is_helped(desk.new())
