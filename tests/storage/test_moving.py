"""A queue that moves to another machine: nothing sent twice, nothing lost, nothing half there."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mta.errors import StoreFull, StoreUnavailable
from mta.queue.model import State
from mta.storage.moving import ARRIVING, EXPORTED
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Selector
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask, deliver_all, open_store
from tests.storage.rig import LATER, settled


@pytest.fixture
def parcel(tmp_path: Path) -> Path:
    return tmp_path / "queue.export"


@pytest.fixture
def there_path(tmp_path: Path) -> str:
    (tmp_path / "there").mkdir()
    return str(tmp_path / "there" / "queue.db")


@pytest.fixture
async def there(there_path: str, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    """The store of the other machine."""
    opened = SqliteStore.open(there_path, clock, min_free=0.0, dice=random.Random(2))
    async with opened as store:
        yield store


async def fill(store: SqliteStore, clock: FakeClock) -> Letters:
    """Queue: a message of which one delivery is delivered, one deferred and one held, and a large one that is due."""
    letters = Letters(clock)
    new = letters.new(["done@example.net", "later@example.net", "held@example.net"])
    await store.accept(new, [])
    done, later, held = await store.claim(3)
    await store.settle(settled(done, State.DELIVERED))
    await store.settle(settled(later, State.QUEUED, reply=LATER, retry_in=timedelta(minutes=5), site="mx.example.net"))
    await store.settle(settled(held, State.HELD, hold_reason="policy"))
    await store.accept(letters.new(["large@example.org"], body=b"x" * 600_000), [])
    return letters


async def test_what_waits_goes_on_there_as_it_was_and_is_held_here(
    store: SqliteStore, there: SqliteStore, clock: FakeClock, parcel: Path
) -> None:
    await fill(store, clock)
    before = {row.id: row for row in await store.reader.select(Selector())}
    moved = await store.moving().export(parcel, Selector(), "root", "new machine")
    assert (moved.deliveries, moved.active) == (3, 0)
    assert {row.hold_reason for row in await store.reader.select(Selector())} == {f"{EXPORTED} {moved.id}"}
    assert await store.claim(10) == []
    taken = await there.moving().take_in(parcel, "root", "new machine")
    assert taken.deliveries == 3
    after = {row.id: row for row in await there.reader.select(Selector())}
    assert after == before
    (large,) = await there.claim(10)
    content = await there.content(large.message.id)
    assert b"".join(content.body) == b"x" * 600_000
    await there.settle(settled(large, State.DELIVERED))
    clock.advance(300)
    (later,) = await there.claim(10)
    assert (str(later.delivery.recipient.mailbox), later.delivery.attempts) == ("later@example.net", 1)
    assert [(row[0], row[1]) for row in ask(str(parcel), "SELECT id, sealed FROM parcel")] == [(moved.id, 1)]


async def test_both_sides_leave_an_audit_row(
    store: SqliteStore, there: SqliteStore, path: str, there_path: str, clock: FakeClock, parcel: Path
) -> None:
    await fill(store, clock)
    moved = await store.moving().export(parcel, Selector(account="app"), "root", "new machine")
    await there.moving().take_in(parcel, "admin", "from the old one")
    look = "SELECT action, target, who, reason FROM audit"
    assert ask(path, look) == [("queue export", moved.id, "root", "new machine")]
    assert ask(there_path, look) == [("queue import", moved.id, "admin", "from the old one")]


async def test_only_what_is_selected_moves_and_nothing_that_a_worker_has_in_hand(
    store: SqliteStore, there: SqliteStore, clock: FakeClock, parcel: Path
) -> None:
    letters = await fill(store, clock)
    (leased,) = await store.claim(1)
    await store.accept(letters.new(["other@example.com"]), [])
    moved = await store.moving().export(parcel, Selector(domain="example.org"), "root", "")
    assert (moved.deliveries, moved.active) == (0, 1)
    assert await store.extend([leased.delivery.id]) == {leased.delivery.id}
    assert len(await store.claim(10)) == 1


async def test_what_was_exported_is_not_exported_again(store: SqliteStore, clock: FakeClock, parcel: Path) -> None:
    await fill(store, clock)
    await store.moving().export(parcel, Selector(), "root", "")
    again = await store.moving().export(parcel.with_name("second"), Selector(), "root", "")
    assert again.deliveries == 0
    with pytest.raises(StoreUnavailable, match="is there already"):
        await store.moving().export(parcel, Selector(), "root", "")


async def test_the_same_deliveries_are_not_taken_in_twice(
    store: SqliteStore, there: SqliteStore, clock: FakeClock, parcel: Path
) -> None:
    await fill(store, clock)
    await store.moving().export(parcel, Selector(), "root", "")
    await there.moving().take_in(parcel, "root", "")
    before = await there.reader.select(Selector())
    for machine in (there, store):
        with pytest.raises(StoreUnavailable, match="in this store already; nothing was taken in"):
            await machine.moving().take_in(parcel, "root", "")
    assert await there.reader.select(Selector()) == before


async def test_a_second_export_brings_the_deliveries_that_were_in_hand_at_the_first(
    store: SqliteStore, there: SqliteStore, clock: FakeClock, parcel: Path
) -> None:
    new = Letters(clock).new(["a@example.net", "b@example.net"])
    await store.accept(new, [], lease=1)
    await store.moving().export(parcel, Selector(), "root", "")
    await there.moving().take_in(parcel, "root", "")
    await deliver_all(there)
    await store.release([new.deliveries[0].id])
    second = parcel.with_name("second")
    assert (await store.moving().export(second, Selector(), "root", "")).deliveries == 1
    await there.moving().take_in(second, "root", "")
    (claimed,) = await there.claim(10)
    assert claimed.delivery.id == new.deliveries[0].id
    assert await there.content(new.message.id) == new.content


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("UPDATE parcel SET sealed = 0", "did not come to its end"),
        ("DROP TABLE parcel", "not what `mta queue export` writes"),
        ("UPDATE contents SET octets = x'00' WHERE id = 1", "not those that were accepted"),
        ("DELETE FROM contents WHERE id = 3", "not those that were accepted"),
        ("UPDATE messages SET body_type = 'what'", "unreadable"),
        ("INSERT INTO schema_version VALUES (99, 0)", "newer version"),
    ],
)
async def test_a_file_that_is_not_whole_is_refused_before_anything_is_written(
    store: SqliteStore, there: SqliteStore, clock: FakeClock, parcel: Path, spoil: str, told: str
) -> None:
    await fill(store, clock)
    await store.moving().export(parcel, Selector(), "root", "")
    ask(str(parcel), spoil)
    with pytest.raises(StoreUnavailable, match=told):
        await there.moving().take_in(parcel, "root", "")
    assert await there.reader.select(Selector()) == []


async def test_a_file_that_is_not_there_or_no_database_is_told(there: SqliteStore, parcel: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no such file"):
        await there.moving().take_in(parcel, "root", "")
    parcel.write_bytes(b"not a database, but some text that is long enough to look at" * 20)  # noqa: ASYNC240  nothing else runs
    with pytest.raises(StoreUnavailable, match="not what `mta queue export` writes"):
        await there.moving().take_in(parcel, "root", "")


class Broken(Exception):
    """What breaks an import off."""


async def test_an_import_that_breaks_off_leaves_nothing(
    store: SqliteStore, there: SqliteStore, there_path: str, clock: FakeClock, parcel: Path
) -> None:
    letters = Letters(clock)
    for _ in range(250):
        await store.accept(letters.new(), [])
    await store.moving().export(parcel, Selector(), "root", "")

    def progress(count: int) -> None:
        if count >= 200:
            raise Broken

    with pytest.raises(Broken):
        await there.moving().take_in(parcel, "root", "", progress)
    left = "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM contents), (SELECT count(*) FROM deliveries)"
    assert ask(there_path, left) == [(0, 0, 0)]
    assert (await there.moving().take_in(parcel, "root", "")).deliveries == 250
    assert len(await there.claim(1000)) == 250


async def test_an_import_that_died_goes_on_where_it_was_and_nothing_was_sent_meanwhile(
    store: SqliteStore, there: SqliteStore, there_path: str, clock: FakeClock, parcel: Path
) -> None:
    await fill(store, clock)
    moved = await store.moving().export(parcel, Selector(), "root", "")
    await there.moving().take_in(parcel, "root", "")
    # as it stands when the machine goes down between the two halves
    ask(there_path, "UPDATE deliveries SET state = 'held', held_since = 0, hold_reason = ?", f"{ARRIVING} {moved.id}")
    assert await there.claim(10) == []
    assert (await there.moving().take_in(parcel, "root", "")).deliveries == 3
    assert len(await there.claim(10)) == 1


async def test_a_full_disk_stops_an_import_and_leaves_nothing(
    store: SqliteStore, there_path: str, clock: FakeClock, parcel: Path
) -> None:
    await fill(store, clock)
    await store.moving().export(parcel, Selector(), "root", "")
    async with open_store(there_path, clock, min_free=1.0) as full:
        with pytest.raises(StoreFull):
            await full.moving().take_in(parcel, "root", "")
        assert await full.reader.select(Selector()) == []


async def test_what_was_claimed_between_the_look_and_the_hold_is_taken_out_of_the_file_again(
    store: SqliteStore, there: SqliteStore, clock: FakeClock, parcel: Path, path: str
) -> None:
    new = Letters(clock).new(["a@example.net", "b@example.net"], body=b"x" * 600_000)
    await store.accept(new, [])
    taken = new.deliveries[0].id
    # one delivery changes hands at the moment when the export wants to hold it
    ask(
        path,
        "CREATE TRIGGER race BEFORE UPDATE ON deliveries WHEN NEW.hold_reason LIKE 'exported%' "
        "AND NEW.recipient LIKE 'a@%' BEGIN SELECT RAISE(IGNORE); END",
    )
    moved = await store.moving().export(parcel, Selector(), "root", "")
    assert moved.deliveries == 1
    assert [one.delivery.id for one in await store.claim(10)] == [taken]
    await there.moving().take_in(parcel, "root", "")
    assert [row.id for row in await there.reader.select(Selector())] == [new.deliveries[1].id]
    assert await there.content(new.message.id) is not None
