"""What only a store on disk can show: kills, damage, versions, space, worker's numbers, and plans of its statements."""

import asyncio
import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mta.errors import Damaged, StoreFull, StoreUnavailable
from mta.events import Event, EventType
from mta.mail.ids import MAX_WORKER
from mta.mail.reply import Reply
from mta.queue.model import State
from mta.queue.settle import Settled, Settlement
from mta.storage.sqlite import SqliteStore
from mta.storage.statements import Statements
from mta.storage.views import Retention
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters

ROOT = Path(__file__).parents[2]
OK = Reply.of(250, "2.0.0", "Ok")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "queue.db")


@pytest.fixture
async def store(path: str, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    async with open_store(path, clock) as store:
        yield store


def open_store(
    path: str,
    clock: FakeClock,
    min_free: float = 0.0,
    retention: Retention = Retention(),  # noqa: B008 - a frozen value
) -> contextlib.AbstractAsyncContextManager[SqliteStore]:
    return SqliteStore.open(path, clock, min_free=min_free, dice=random.Random(1), retention=retention)


def ask(path: str, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    """Look into the file, or change it, past the store."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, parameters).fetchall()


def accept_until_killed(path: str, at_least: int) -> list[str]:
    """Let a process accept mail, kill it in the midst, and return the ids that it acknowledged."""
    command = [sys.executable, str(ROOT / "tests/storage/kill_victim.py"), path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as victim:
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(at_least)]
        victim.kill()
        lines += victim.stdout.readlines()
    # the last line may be cut off
    return [line.strip() for line in lines if line.endswith("\n")]


async def deliver_all(store: SqliteStore) -> None:
    for claimed in await store.claim(100):
        settlement = Settlement(claimed, State.DELIVERED, OK, EventType.DELIVERED)
        event = Event(store.ids.next(), store.now(), EventType.DELIVERED, queue_id=claimed.message.id)
        assert await store.settle(Settled(settlement, (event,)))


async def test_everything_acknowledged_before_a_kill_is_there_afterwards(path: str, clock: FakeClock) -> None:
    acknowledged = [queue_id for _ in range(2) for queue_id in accept_until_killed(path, 150)]
    async with open_store(path, clock) as store:
        for queue_id in acknowledged:
            assert len((await store.content(queue_id)).body[0]) == 3000
    assert len(acknowledged) >= 300


@pytest.mark.parametrize("piece", [0, 1])
async def test_a_flipped_bit_is_damage_and_never_content(
    store: SqliteStore, path: str, clock: FakeClock, piece: int
) -> None:
    new = Letters(clock).new()
    await store.accept(new, [])
    (octets,) = ask(path, "SELECT octets FROM contents WHERE piece = ?", piece)[0]
    assert isinstance(octets, bytes)
    ask(path, "UPDATE contents SET octets = ? WHERE piece = ?", bytes([octets[0] ^ 1]) + octets[1:], piece)
    with pytest.raises(Damaged, match=new.message.id):
        await store.content(new.message.id)


async def test_a_missing_piece_is_damage(store: SqliteStore, path: str, clock: FakeClock) -> None:
    new = Letters(clock).new(body=b"x" * 600_000)
    await store.accept(new, [])
    assert [row[0] for row in ask(path, "SELECT length(octets) FROM contents WHERE piece > 0")] == [
        262144,
        262144,
        75712,
    ]
    ask(path, "DELETE FROM contents WHERE piece = 2")
    with pytest.raises(Damaged, match="gone"):
        await store.content(new.message.id)


async def test_the_file_is_the_owners_alone_and_has_what_cannot_be_changed_later(
    store: SqliteStore, path: str, clock: FakeClock
) -> None:
    await store.accept(Letters(clock).new(), [])
    for name in (path, path + "-wal", path + "-shm"):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600, name
    assert ask(path, "PRAGMA auto_vacuum") == [(2,)]
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]


async def test_the_writer_syncs_each_commit_and_overwrites_what_it_deletes(store: SqliteStore) -> None:
    def settings(connection: sqlite3.Connection) -> list[int]:
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "secure_delete")]

    assert await store._writer.run(settings) == [2, 1]


async def test_a_file_open_to_everyone_is_closed_to_others_at_the_next_start(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock):
        pass
    os.chmod(path, 0o644)
    async with open_store(path, clock):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_a_store_of_a_newer_version_is_refused_with_a_remedy(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock):
        pass
    ask(path, "INSERT INTO schema_version (version, applied_at) VALUES (999, 0)")
    with pytest.raises(StoreUnavailable, match=r"written by a newer version of mta \(schema 999.*start that version"):
        async with open_store(path, clock):
            pass


def spoil(path: str) -> bytes:
    """Overwrite some pages of a file; return what it holds now."""
    octets = bytearray(Path(path).read_bytes())
    octets[4096 * 5 : 4096 * 25] = b"\xa5" * 4096 * 20
    Path(path).write_bytes(octets)
    return bytes(octets)


async def test_a_damaged_file_is_refused_and_kept(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock) as store:
        for _ in range(50):
            await store.accept(Letters(clock).new(body=b"x" * 3000), [])
            clock.advance(1)
    octets = spoil(path)
    with pytest.raises(StoreUnavailable, match=r"damaged|malformed"):
        async with open_store(path, clock):
            pass
    assert await asyncio.to_thread(Path(path).read_bytes) == octets


async def test_a_file_that_is_no_database_is_refused(path: str, clock: FakeClock) -> None:
    await asyncio.to_thread(Path(path).write_text, "hello " * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        async with open_store(path, clock):
            pass


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(StoreUnavailable, match="check the folder"):
        async with open_store(str(tmp_path / "none" / "queue.db"), clock):
            pass


async def test_a_disk_that_is_too_full_takes_no_mail_but_settles_what_is_there(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock) as roomy:
        await roomy.accept(Letters(clock).new(), [])
    async with open_store(path, clock, min_free=1.0) as store:
        with pytest.raises(StoreFull, match=r"free, 100\.0% wanted"):
            await store.accept(Letters(clock).new(), [])
        await deliver_all(store)
        assert await store.next_due() is None


async def test_each_worker_has_a_number_of_its_own_and_identifiers_never_meet(path: str, clock: FakeClock) -> None:
    numbers, ids = [], set()
    for _ in range(3):
        async with open_store(path, clock) as one, open_store(path, clock) as two:
            numbers += [one.worker, two.worker]
            ids |= {one.ids.next(), two.ids.next()}
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert len(ids) == 6


async def test_numbers_go_round_and_pass_over_those_in_use(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock) as first:
        assert first.worker == 1
        ask(path, "INSERT INTO workers (number, pid, started_at, seen_at) VALUES (?, 1, 0, 0)", MAX_WORKER)
        async with open_store(path, clock) as second:
            assert second.worker == 2


async def test_a_worker_that_renews_leases_is_seen_to_live(store: SqliteStore, path: str, clock: FakeClock) -> None:
    before = ask(path, "SELECT seen_at FROM workers")
    clock.advance(30)
    await store.extend([])
    ((seen,),) = ask(path, "SELECT seen_at FROM workers")
    assert (seen,) != before[0]


async def test_a_row_that_cannot_be_read_is_held_and_the_rest_is_sent(
    store: SqliteStore, path: str, clock: FakeClock
) -> None:
    letters = Letters(clock)
    bad, good = letters.new(), letters.new()
    await store.accept(bad, [])
    await store.accept(good, [])
    ask(path, "UPDATE messages SET body_type = 'ODD' WHERE id = ?", bad.message.id)
    assert [one.message.id for one in await store.claim(10)] == [good.message.id]
    ((state, reason),) = ask(path, "SELECT state, hold_reason FROM deliveries WHERE queue_id = ?", bad.message.id)
    assert (state, reason) == ("held", "unreadable in the store: 'ODD' is not a valid BodyType")


async def test_octets_are_kept_after_the_end_as_long_as_wanted_and_purged_then(path: str, clock: FakeClock) -> None:
    kept = Retention(body=timedelta(hours=1), events=timedelta(days=1))
    async with open_store(path, clock, retention=kept) as store:
        new = Letters(clock).new()
        await store.accept(new, [])
        await deliver_all(store)
        clock.advance(3599)
        assert not await store.purge()
        assert await store.content(new.message.id) == new.content
        clock.advance(1)
        await store.purge()
        with pytest.raises(Damaged):
            await store.content(new.message.id)
        assert await store.reader.message(new.message.id) == new.message


async def test_what_was_final_long_ago_is_forgotten_and_what_waits_is_not(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock, retention=Retention(events=timedelta(days=90))) as store:
        old, waiting = Letters(clock).new(), Letters(clock, worker=8).new()
        await store.accept(old, [])
        await deliver_all(store)
        await store.accept(waiting, [])
        clock.advance(timedelta(days=91))
        await store.purge()
        assert await store.reader.message(old.message.id) is None
        assert await store.reader.events() == []
        assert await store.content(waiting.message.id) == waiting.content
        assert ask(path, "SELECT queue_id FROM deliveries") == [(waiting.message.id,)]


async def test_purging_gives_space_back(path: str, clock: FakeClock) -> None:
    letters = Letters(clock)
    async with open_store(path, clock) as store:
        await asyncio.gather(*(store.accept(letters.new(body=b"x" * 200_000), []) for _ in range(60)))
        await deliver_all(store)
        ((before,),) = ask(path, "PRAGMA page_count")
        for _ in range(100):
            if not await store.purge():
                break
        ((after,),) = ask(path, "PRAGMA page_count")
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after < before / 2


# plans, with a queue long enough for a scan to be the wrong choice

LINE = 200_000


@pytest.fixture(scope="module")
def long_queue(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with many deliveries due, written past it."""
    path = str(tmp_path_factory.mktemp("line") / "queue.db")

    async def fill() -> None:
        clock = FakeClock()
        async with open_store(path, clock) as store:
            new = Letters(clock).new()
            await store.accept(new, [])

    asyncio.run(fill())
    ask(
        path,
        """
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
        INSERT INTO deliveries (id, queue_id, account, stream, accepted_at, recipient, domain, notify, state, due_at,
            attempts, held_for, delay_noticed)
        SELECT printf('z%015d', n), m.id, m.account, m.stream, m.accepted_at, printf('u%d@example.net', n),
               'example.net', '', 'queued', m.accepted_at + n, 0, 0, 0
        FROM number, messages AS m
        """,
        LINE,
    )
    return path


SELECTED = dict.fromkeys(("id", "after", "account", "domain", "state", "accepted_before", "tag", "site", "limit"))
STEPS: dict[str, dict[str, Any]] = {
    "due": {"now": 2**60, "after_due": 0, "after_id": "", "window": 10},
    "lapsed": {"now": 2**60, "window": 10},
    "lease": {"owner": 1, "lease_until": 0, "ids": "[]"},
    "claimed": {"ids": "[]"},
    "extend": {"owner": 1, "lease_until": 0, "ids": "[]"},
    "release": {"owner": 1, "ids": "[]"},
    "is_open": {"queue_id": ""},
    "next_due": {},
    "delete_contents": {"queue_id": ""},
    "content": {"queue_id": ""},
    "rows_by_id": SELECTED,
    "find": dict.fromkeys(("text", "bracketed", "recipient", "limit")),
    "events_of": {"queue_id": "", "limit": 1},
    "bodies_to_purge": {"before": 0, "limit": 1},
}


@pytest.mark.parametrize("name", STEPS)
def test_no_step_of_a_message_walks_a_whole_table(long_queue: str, name: str) -> None:
    plan = ask_plan(long_queue, name)
    tables = ("deliveries", "messages", "contents", "events", "d", "m", "c")
    # the minimum of an indexed column is its first entry, though the plan says SEARCH or SCAN by the index
    scans = [line for line in plan if line.startswith("SCAN") and line.split()[1] in tables]
    assert not scans, plan


def test_claims_go_by_the_index_of_due_times_and_sort_nothing(long_queue: str) -> None:
    plan = ask_plan(long_queue, "due")
    assert any("USING COVERING INDEX deliveries_due" in line for line in plan), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan


def test_a_list_of_what_is_open_does_not_walk_through_history(long_queue: str) -> None:
    plan = [line for line in ask_plan(long_queue, "rows_open") if " deliveries " in line]
    assert [line.rpartition(" ")[2] for line in plan] == ["deliveries_due", "deliveries_leased", "deliveries_held"]


def ask_plan(path: str, name: str) -> list[str]:
    sql = "EXPLAIN QUERY PLAN " + Statements.load()[name]
    with closing(sqlite3.connect(path)) as connection:
        return [row[3] for row in connection.execute(sql, STEPS.get(name) or SELECTED)]


async def test_a_claim_looks_at_no_more_rows_of_a_long_queue_than_of_a_short_one(long_queue: str) -> None:
    steps = []
    clock = FakeClock()
    clock.advance(timedelta(days=1))
    async with open_store(long_queue, clock) as store:
        await store._writer.run(lambda connection: connection.set_progress_handler(lambda: steps.append(1), 100))
        claimed = await store.claim(10)
    assert len(claimed) == 10
    # a step is a hundred instructions of SQLite's machine; a walk over the line would be ten thousand of them
    assert len(steps) < 100


async def test_passing_over_a_line_goes_on_where_the_last_claim_stopped(long_queue: str) -> None:
    steps: list[int] = []
    clock = FakeClock()
    clock.advance(timedelta(days=1))
    async with open_store(long_queue, clock) as store:
        assert await store.claim(10, ["example.net"]) == []
        await store._writer.run(lambda connection: connection.set_progress_handler(lambda: steps.append(1), 100))
        assert await store.claim(10, ["example.net"]) == []
        assert len(steps) < 300
