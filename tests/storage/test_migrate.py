"""Migrations: from nothing to this version's schema, once, whole, and never back."""

import gzip
import random
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mta.accounts.account import Rate
from mta.accounts.allowance import Terms
from mta.accounts.standing import State as StandingState
from mta.errors import Damaged, FirstTimeUsedUp, OverRate, StoreUnavailable
from mta.events import EventType
from mta.mail.address import Mailbox
from mta.queue.model import State
from mta.storage.connect import connect, prepare
from mta.storage.migrate import migrate, migrations, refuse_newer, version_of
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Selector
from tests.fakes.clock import FakeClock
from tests.fakes.letters import BODY, HEADER, Letters

# Written by the version whose schema was 1: a message to three, of which one is delivered, one waits and one is held.
OLD = Path(__file__).parent / "version1.db.gz"
OLD_MESSAGE = "1jmjwvm0004mhpxc"
# Written by the version whose schema was 2: a message to three, of which one is delivered, one bounced and was put on
# the list, and one waits; the account's bulk is suspended by an operator.
SECOND = Path(__file__).parent / "version2.db.gz"
# Written by the version whose schema was 3: a message of 300 KB to three, of which one is delivered, one waits for its
# next attempt and one is held; small ones: one waits, one is delivered, one is leased.
THIRD = Path(__file__).parent / "version3.db.gz"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "queue.db")


def test_migrations_are_numbered_from_one() -> None:
    assert [step.version for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_an_empty_store_is_brought_to_the_newest_version(path: str) -> None:
    prepare(path, 5)
    with closing(connect(path)) as connection:
        assert version_of(connection) == len(migrations())
        assert {row["applied_at"] for row in connection.execute("SELECT applied_at FROM schema_version")} == {5}


def test_a_store_that_is_up_to_date_is_left_alone(path: str) -> None:
    prepare(path, 5)
    prepare(path, 6)
    with closing(connect(path)) as connection:
        assert {row["applied_at"] for row in connection.execute("SELECT applied_at FROM schema_version")} == {5}


def test_a_step_that_fails_leaves_nothing_of_itself(path: str) -> None:
    Path(path).touch()
    with closing(connect(path)) as connection:
        # the last table that the first step makes is there already
        connection.execute("CREATE TABLE audit (id TEXT)")
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(connection, path, 5)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        assert ([row["name"] for row in tables], version_of(connection)) == (["audit"], 0)


def test_a_newer_store_is_refused() -> None:
    with pytest.raises(StoreUnavailable, match="newer version"):
        refuse_newer("queue.db", 2, 1)
    refuse_newer("queue.db", 1, 1)


async def test_a_store_of_version_1_is_brought_up_to_date_with_all_that_is_in_it(path: str) -> None:
    Path(path).write_bytes(gzip.decompress(OLD.read_bytes()))  # noqa: ASYNC240 - nothing else runs
    clock = FakeClock()
    clock.advance(60)
    with closing(connect(path)) as connection:
        assert version_of(connection) == 1
    async with SqliteStore.open(path, clock, min_free=0.0, dice=random.Random(1)) as store:
        rows = await store.reader.select(Selector(id=OLD_MESSAGE))
        assert [row.state for row in rows] == [State.DELIVERED, State.QUEUED, State.HELD]
        (waiting,) = await store.claim(10)
        assert (str(waiting.delivery.recipient.mailbox), waiting.suppressed) == ("waiting@example.net", None)
        content = await store.content(OLD_MESSAGE)
        assert (content.header, content.body) == (HEADER, (BODY,))
        story = [event.type for event in await store.reader.events_of(OLD_MESSAGE)]
        assert story == [EventType.ACCEPTED, EventType.DELIVERED, EventType.HELD]
        assert [account.name for account in await store.reader.accounts()] == ["shop"]
        # what was delivered before can bounce now
        filed = await store.file(rows[0].id)
    assert filed is not None
    assert filed.delivery.state is State.DELIVERED
    with closing(connect(path)) as connection:
        assert version_of(connection) == len(migrations())


async def test_a_store_of_version_2_keeps_what_it_knows_and_knows_whom_an_account_wrote_to(path: str) -> None:
    Path(path).write_bytes(gzip.decompress(SECOND.read_bytes()))  # noqa: ASYNC240 - nothing else runs
    clock = FakeClock()
    clock.advance(60)
    with closing(connect(path)) as connection:
        assert version_of(connection) == 2
    async with SqliteStore.open(path, clock, min_free=0.0, dice=random.Random(1)) as store:
        entry = await store.suppression_list.find("app", Mailbox.parse("Bounced@example.net"))
        assert entry is not None
        assert [(one.stream, one.state, one.by) for one in await store.reader.standings()] == [
            ("bulk", StandingState.SUSPENDED, "root")
        ]
        one_a_day = Terms(Rate(3, timedelta(hours=1)), first_time_per_day=1)
        letters = Letters(clock)
        known = letters.new(["delivered@example.net", "waiting@example.net", "new@example.net"])
        await store.accept(replace(known, terms=one_a_day), [])
        with pytest.raises(OverRate):
            await store.accept(replace(letters.new(), terms=one_a_day), [])
        with pytest.raises(FirstTimeUsedUp):
            await store.accept(replace(letters.new(), terms=replace(one_a_day, rate=None)), [])
    with closing(connect(path)) as connection:
        assert version_of(connection) == len(migrations())


async def test_a_store_of_version_3_keeps_octets_that_wait_and_counts_what_is_open(path: str) -> None:
    Path(path).write_bytes(gzip.decompress(THIRD.read_bytes()))  # noqa: ASYNC240 - nothing else runs
    clock = FakeClock()
    clock.advance(30)
    async with SqliteStore.open(path, clock, min_free=0.0, dice=random.Random(1)) as store:
        large = await store.content("1jmjwvm0004mhpxc")
        assert (large.header, b"".join(large.body)) == (HEADER, b"x" * 300_000)
        (small,) = await store.claim(10)
        assert small.message.id == "1jmjwvm0004mhpxg"
        assert (await store.content(small.message.id)).body == (BODY,)
        with pytest.raises(Damaged):
            await store.content("1jmjwvm0004mhpxj")
        totals = await store.reader.totals()
        assert {state.value: total.count for state, total in totals.items()} == {"queued": 1, "active": 2, "held": 1}
        new = Letters(clock).new()
        await store.accept(new, [])
        assert await store.content(new.message.id) == new.content
        clock.advance(300)
        assert {one.message.id for one in await store.claim(10)} >= {"1jmjwvm0004mhpxc"}


@pytest.mark.parametrize("old", [OLD, SECOND, THIRD])
def test_an_old_store_has_the_schema_of_a_new_one(path: str, tmp_path: Path, old: Path) -> None:
    Path(path).write_bytes(gzip.decompress(old.read_bytes()))
    prepare(path, 5)
    prepare(str(tmp_path / "new.db"), 5)
    assert schema_of(path) == schema_of(str(tmp_path / "new.db"))


def schema_of(path: str) -> set[tuple[str, str]]:
    with closing(connect(path)) as connection:
        return {(row["name"], row["sql"]) for row in connection.execute("SELECT name, sql FROM sqlite_master")}
