"""What only a store on disk can show: kills, damage, versions, space, and workers' numbers."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mta.errors import Damaged, StoreFull, StoreUnavailable
from mta.events import Event, EventType
from mta.mail.ids import MAX_WORKER
from mta.queue.model import NewMessage, State
from mta.queue.returned import ReturnNote
from mta.queue.settle import Settled, Settlement
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.fakes.letters import HEADER, Letters
from tests.storage.disk import OK, ask, deliver_all, forgetful, open_store

ROOT = Path(__file__).parents[2]


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
    new = Letters(clock).new(body=b"x" * 300_000)
    await store.accept(new, [])
    at = "(SELECT content_at FROM messages) + ?"
    (octets,) = ask(path, f"SELECT octets FROM contents WHERE id = {at}", piece)[0]
    assert isinstance(octets, bytes)
    ask(path, f"UPDATE contents SET octets = ? WHERE id = {at}", bytes([octets[0] ^ 1]) + octets[1:], piece)
    with pytest.raises(Damaged, match=new.message.id):
        await store.content(new.message.id)


async def test_a_missing_piece_is_damage(store: SqliteStore, path: str, clock: FakeClock) -> None:
    new = Letters(clock).new(body=b"x" * 600_000)
    await store.accept(new, [])
    pieces = [row[0] for row in ask(path, "SELECT length(octets) FROM contents ORDER BY id")]
    assert pieces == [len(HEADER), 262144, 262144, 75712]
    ask(path, "DELETE FROM contents WHERE length(octets) = 75712")
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


async def test_a_disk_that_is_too_full_takes_no_notes(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock, min_free=1.0) as store:
        with pytest.raises(StoreFull):
            await store.note(ReturnNote("1", clock.now(), "postmaster", octets=b"Hello"))


# an ordinary message with an event is written by one statement, without a transaction around it
EVENTS = pytest.mark.parametrize("told", [0, 1], ids=["in_a_transaction", "in_one_step"])


def told_of(new: NewMessage, clock: FakeClock, told: int) -> list[Event]:
    return [Event(f"{number:020}", clock.now(), EventType.ACCEPTED, queue_id=new.message.id) for number in range(told)]


@EVENTS
async def test_a_message_whose_commit_was_carried_out_without_an_answer_is_accepted_once(
    path: str, clock: FakeClock, told: int
) -> None:
    plan: list[str] = []
    async with open_store(path, clock, opener=forgetful(plan)) as store:
        new = Letters(clock).new()
        plan.append("done")
        accepted = await store.accept(new, told_of(new, clock, told), lease=1)
        assert [one.delivery.id for one in accepted.leased] == [new.deliveries[0].id]
        assert await store.content(new.message.id) == new.content
        event = Event(store.ids.next(), store.now(), EventType.DELIVERED, queue_id=new.message.id)
        plan.append("done")
        settlement = Settlement(accepted.leased[0], State.DELIVERED, OK, EventType.DELIVERED)
        assert await store.settle(Settled(settlement, (event,))) == (event,)


@EVENTS
async def test_a_message_whose_commit_was_lost_is_not_accepted(path: str, clock: FakeClock, told: int) -> None:
    plan: list[str] = []
    async with open_store(path, clock, opener=forgetful(plan)) as store:
        new = Letters(clock).new()
        plan.append("lost")
        with pytest.raises(StoreUnavailable):
            await store.accept(new, told_of(new, clock, told))
        assert not plan
        # the client sends it again, after it has heard 451
        assert (await store.accept(new, told_of(new, clock, told))).queue_id == new.message.id


async def test_while_nobody_can_look_it_is_looked_again_and_in_the_end_it_is_unavailable(
    path: str, clock: FakeClock
) -> None:
    plan: list[str] = []
    async with open_store(path, clock, opener=forgetful(plan)) as store:
        letters = Letters(clock)
        first, second = letters.new(), letters.new()
        plan += ["done", "lost", "lost"]
        assert (await store.accept(first, [])).queue_id == first.message.id
        plan += ["done", *["lost"] * 1000]
        refused = asyncio.create_task(store.accept(second, []))
        for _ in range(3000):
            if len(plan) <= 998:
                break
            await asyncio.sleep(0.01)
        assert not refused.done()
        clock.advance(timedelta(seconds=11))
        with pytest.raises(StoreUnavailable):
            await refused
        plan.clear()
