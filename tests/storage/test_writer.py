"""The writer: group commit, what one failure costs the others, locks, a full disk, cancelled callers."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mta.clock import SystemClock
from mta.errors import StoreFull, StoreInDoubt, StoreUnavailable
from mta.storage.connect import connect
from mta.storage.units import OneStep
from mta.storage.writer import Writer, WriterSettings
from tests.storage.disk import forgetful


@dataclass
class Desk:
    """Makes writers on one file and counts what they do."""

    path: str
    commits: list[int] = field(default_factory=list)
    """Units of each successful group, as the observer hears them."""
    statements: list[str] = field(default_factory=list)
    opened: int = 0
    max_pages: int = 0

    def writer(self, **settings: float) -> Writer:
        chosen = WriterSettings(**settings)  # type: ignore[arg-type]  # numbers, whichever
        return Writer(self.path, SystemClock(), chosen, lambda units, _: self.commits.append(units), self.open)

    def open(self, path: str) -> sqlite3.Connection:
        self.opened += 1
        connection = connect(path)
        if self.max_pages:
            connection.execute(f"PRAGMA max_page_count = {self.max_pages}")
        connection.set_trace_callback(self.statements.append)
        return connection

    def rows(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute("SELECT word FROM words ORDER BY word")]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    path = tmp_path / "words.db"
    path.touch()
    with closing(connect(str(path))) as connection:
        connection.execute("CREATE TABLE words (word TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE lines (word TEXT REFERENCES words (word), octets BLOB)")
    return Desk(str(path))


def add(word: str) -> Callable[[sqlite3.Connection], str]:
    def unit(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO words VALUES (?)", (word,))
        return word

    return unit


@asynccontextmanager
async def busy(writer: Writer) -> AsyncIterator[None]:
    """Keep the writer at work on a transaction inside the block, so that what comes meanwhile waits together."""
    begun, go = threading.Event(), threading.Event()

    def unit(_: sqlite3.Connection) -> None:
        begun.set()
        go.wait(10)

    task = asyncio.create_task(writer.run(unit))
    await asyncio.to_thread(begun.wait, 10)
    yield
    # let the tasks that were made hand in their units
    await asyncio.sleep(0)
    go.set()
    await task


async def test_units_that_wait_together_are_committed_together(desk: Desk) -> None:
    async with desk.writer() as writer:
        words = [f"{number:02}" for number in range(50)]
        assert await asyncio.gather(*(writer.run(add(word)) for word in words)) == words
    assert desk.rows() == words
    assert desk.statements.count("COMMIT") <= 5
    assert sum(desk.commits) == 50


async def test_the_commit_comes_before_the_answer(desk: Desk) -> None:
    async with desk.writer() as writer:
        await writer.run(add("a"))
        assert (desk.rows(), desk.statements[-1]) == (["a"], "COMMIT")


async def test_one_failing_unit_goes_to_its_caller_and_spoils_no_other(desk: Desk) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        add("half")(connection)
        raise LookupError("not today")

    async with desk.writer() as writer:
        async with busy(writer):
            others = [asyncio.create_task(writer.run(unit)) for unit in (add("a"), broken, add("a"), add("b"))]
        a, failed, twice, b = await asyncio.gather(*others, return_exceptions=True)
    assert (a, b, desk.rows()) == ("a", "b", ["a", "b"])
    assert isinstance(failed, LookupError)
    assert isinstance(twice, StoreUnavailable)
    assert desk.opened == 1


def add_all(connection: sqlite3.Connection, words: Sequence[str]) -> list[str | Exception]:
    """One word a statement, so that one which is there already undoes those before it; `no` is refused by itself."""
    told: list[str | Exception] = []
    for word in words:
        if word == "no":
            told.append(LookupError(word))
            continue
        add(word)(connection)
        told.append(f"{word} of {len(words)}")
    return told


async def test_things_that_wait_for_the_same_unit_are_handed_to_it_at_once(desk: Desk) -> None:
    async with desk.writer() as writer:
        async with busy(writer):
            calls = [writer.run_together(add_all, "a"), writer.run(add("b")), writer.run_together(add_all, "c")]
            tasks = [asyncio.create_task(call) for call in calls]
        assert await asyncio.gather(*tasks) == ["a of 2", "b", "c of 2"]
    assert desk.rows() == ["a", "b", "c"]


async def test_one_that_is_refused_or_fails_spoils_none_that_it_was_handed_in_with(desk: Desk) -> None:
    async with desk.writer() as writer:
        async with busy(writer):
            tasks = [asyncio.create_task(writer.run_together(add_all, word)) for word in ("a", "no", "a", "b")]
        a, refused, twice, b = await asyncio.gather(*tasks, return_exceptions=True)
    assert (a, b, desk.rows()) == ("a of 1", "b of 1", ["a", "b"])
    assert isinstance(refused, LookupError)
    assert isinstance(twice, StoreUnavailable)
    assert desk.opened == 1


def add_in_one(_: sqlite3.Connection, words: Sequence[str]) -> OneStep | None:
    """All words in one statement; `no` is for the unit, and one that is there already undoes them all."""
    if "no" in words:
        return None
    values = ", ".join("(?)" for _ in words)
    return OneStep(f"INSERT INTO words VALUES {values}", words, [f"{word} at once" for word in words])


async def in_one(desk: Desk, writer: Writer, *words: str) -> list[object]:
    """What came of words that waited together, behind the statements which that took."""
    async with busy(writer):
        tasks = [asyncio.create_task(writer.run_together(add_all, word, in_one=add_in_one)) for word in words]
        desk.statements.clear()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    # the transaction that kept the writer at work comes first
    return [*desk.statements[1:], *told]


async def test_a_step_that_does_all_that_waits_is_a_transaction_by_itself(desk: Desk) -> None:
    async with desk.writer() as writer:
        assert await in_one(desk, writer, "a", "b") == [
            "INSERT INTO words VALUES ('a'), ('b')",
            "a at once",
            "b at once",
        ]
    assert (desk.rows(), desk.commits) == (["a", "b"], [1, 2])


async def test_of_a_step_that_fails_nothing_is_written_and_the_unit_tells_whose_fault_it_was(desk: Desk) -> None:
    async with desk.writer() as writer:
        await writer.run(add("b"))
        *_, a, twice, c = await in_one(desk, writer, "a", "b", "c")
    assert (a, c, desk.rows()) == ("a of 1", "c of 1", ["a", "b", "c"])
    assert isinstance(twice, StoreUnavailable)
    assert desk.opened == 1


async def test_what_cannot_be_done_in_one_step_or_waits_with_something_else_is_done_by_its_unit(desk: Desk) -> None:
    async with desk.writer() as writer:
        *_, a, no = await in_one(desk, writer, "a", "no")
        assert a == "a of 2"
        assert isinstance(no, LookupError)
        async with busy(writer):
            calls = [writer.run(add("b")), writer.run_together(add_all, "c", in_one=add_in_one)]
            tasks = [asyncio.create_task(call) for call in calls]
        assert await asyncio.gather(*tasks) == ["b", "c of 1"]
    assert desk.rows() == ["a", "b", "c"]


async def test_a_step_waits_for_a_lock_as_a_transaction_does(desk: Desk) -> None:
    async with desk.writer(lock_patience=0.1) as writer:
        with closing(sqlite3.connect(desk.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await writer.run_together(add_all, "a", in_one=add_in_one)
            waiting = asyncio.create_task(writer.run_together(add_all, "b", in_one=add_in_one))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            other.execute("ROLLBACK")
            assert await waiting == "b at once"
    assert (desk.rows(), desk.opened) == (["b"], 1)


@pytest.mark.parametrize(("answer", "written"), [("done", ["a", "b"]), ("lost", ["b"])])
async def test_a_step_whose_answer_is_lost_is_in_doubt(desk: Desk, answer: str, written: list[str]) -> None:
    writer = Writer(desk.path, SystemClock(), WriterSettings(), lambda *_: None, forgetful([answer], desk.open))
    async with writer:
        with pytest.raises(StoreInDoubt) as doubt:
            await writer.run_together(add_all, "a", in_one=add_in_one)
        assert doubt.value.value == "a at once"
        assert await writer.run_together(add_all, "b", in_one=add_in_one) == "b at once"
    assert (desk.rows(), desk.opened) == (written, 2)


async def test_a_failed_commit_fails_its_group_and_the_connection_is_not_used_again(desk: Desk) -> None:
    def orphan(connection: sqlite3.Connection) -> None:
        # the constraint is looked at by COMMIT, which fails
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO lines (word) VALUES ('nobody')")

    async with desk.writer() as writer:
        async with busy(writer):
            group = [asyncio.create_task(writer.run(unit)) for unit in (add("a"), orphan)]
        results = await asyncio.gather(*group, return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
        assert desk.rows() == []
        assert await writer.run(add("b")) == "b"
    assert (desk.rows(), desk.opened) == (["b"], 2)


async def test_a_commit_whose_answer_is_lost_leaves_its_group_in_doubt_with_what_each_would_have_heard(
    desk: Desk,
) -> None:
    writer = Writer(desk.path, SystemClock(), WriterSettings(), lambda *_: None, forgetful(["", "done"], desk.open))
    async with writer:
        async with busy(writer):
            group = [asyncio.create_task(writer.run_together(add_all, word)) for word in ("a", "no")]
        doubt, refused = await asyncio.gather(*group, return_exceptions=True)
        assert isinstance(doubt, StoreInDoubt)
        assert doubt.value == "a of 2"
        assert isinstance(refused, LookupError)
        assert await writer.run(add("b")) == "b"
    assert (desk.rows(), desk.opened) == (["a", "b"], 2)


async def test_a_database_locked_from_outside_is_unavailable_within_bounds_and_then_recovers(desk: Desk) -> None:
    async with desk.writer(lock_patience=0.05) as writer:
        with closing(sqlite3.connect(desk.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(30):
                results = await asyncio.gather(
                    *(writer.run(add(str(number))) for number in range(3)), return_exceptions=True
                )
            other.execute("ROLLBACK")
        assert {type(result) for result in results} == {StoreUnavailable}
        assert await writer.run(add("a")) == "a"
    assert (desk.rows(), desk.opened) == (["a"], 1)


async def test_a_lock_that_is_given_up_in_time_costs_nobody_anything(desk: Desk) -> None:
    async with desk.writer() as writer:
        with closing(sqlite3.connect(desk.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(writer.run(add("a")))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            other.execute("ROLLBACK")
            assert await waiting == "a"


async def test_a_full_disk_is_told_apart_and_what_needs_no_space_goes_on(desk: Desk) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO lines (octets) VALUES (zeroblob(1000000))")

    desk.max_pages = 50
    async with desk.writer() as writer:
        await writer.run(add("a"))
        results = await asyncio.gather(writer.run(fill), writer.run(fill), return_exceptions=True)
        assert [type(result) for result in results] == [StoreFull, StoreFull]
        assert await writer.run(add("b")) == "b"
    assert desk.rows() == ["a", "b"]


async def test_cancelling_a_caller_leaves_its_transaction_alone(desk: Desk) -> None:
    async with desk.writer() as writer:
        async with busy(writer):
            caller = asyncio.create_task(writer.run(add("a")))
            await asyncio.sleep(0)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        await writer.run(add("b"))
    assert desk.rows() == ["a", "b"]


async def test_past_the_bound_of_waiting_units_a_caller_is_refused_at_once(desk: Desk) -> None:
    async with desk.writer(max_waiting=1) as writer:
        async with busy(writer):
            with pytest.raises(StoreUnavailable, match="wait already"):
                await writer.run(add("a"))
        assert await writer.run(add("a")) == "a"


async def test_a_patient_unit_is_joined_by_others_and_one_in_a_hurry_ends_the_wait(desk: Desk) -> None:
    async with desk.writer(linger=0.05) as writer:
        patient = [asyncio.create_task(writer.run(add(word), patient=True)) for word in "abc"]
        await asyncio.sleep(0)
        await writer.run(add("d"))
        assert all(task.done() for task in patient)
    assert desk.commits == [4]


async def test_a_patient_unit_alone_is_committed_all_the_same(desk: Desk) -> None:
    async with desk.writer(linger=0.001) as writer:
        assert await writer.run(add("a"), patient=True) == "a"


async def test_closing_carries_out_what_waits_and_ends_the_thread(desk: Desk) -> None:
    writer = desk.writer()
    async with writer:
        waiting = asyncio.create_task(writer.run(add("a")))
        await asyncio.sleep(0)
    assert await waiting == "a"
    assert desk.rows() == ["a"]
    assert not any(thread.name == "mta-writer" for thread in threading.enumerate())
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.run(add("b"))


async def test_a_file_that_cannot_be_opened_is_unavailable_and_tried_again(tmp_path: Path) -> None:
    desk = Desk(str(tmp_path / "missing.db"))
    async with desk.writer() as writer:
        with pytest.raises(StoreUnavailable, match=r"missing\.db"):
            await writer.run(add("a"))
        (tmp_path / "missing.db").touch()
        await writer.run(lambda connection: connection.execute("CREATE TABLE words (word TEXT)").close())
        assert await writer.run(add("a")) == "a"


def test_nobody_may_be_made_to_wait_longer_than_50_milliseconds_for_company() -> None:
    with pytest.raises(ValueError, match=r"0\.05"):
        WriterSettings(linger=0.06)
