"""What reading all of a store's file finds."""

from datetime import timedelta

import pytest

from mta.storage.integrity import integrity
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask, open_store

MINUTE = timedelta(minutes=1)


async def test_a_sound_store_is_sound_also_while_it_is_used(store: SqliteStore, path: str, clock: FakeClock) -> None:
    await store.accept(Letters(clock).new(), [])
    assert integrity(path, MINUTE) == ()


def overwritten(path: str, at: int, octets: bytes) -> None:
    """Do to a file what a bad disk does."""
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(octets)


async def test_an_index_that_lacks_a_row_is_found(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock) as store:
        await store.accept(Letters(clock).new(), [])
    root = ask(path, "SELECT rootpage FROM sqlite_master WHERE name = 'deliveries_by_recipient'")[0][0]
    assert isinstance(root, int)
    # a page of an index that says it has no entries
    overwritten(path, (root - 1) * 4096, b"\x0a\x00\x00\x00\x00\x10\x00\x00")
    assert any("deliveries_by_recipient" in line for line in integrity(path, MINUTE))


async def test_a_file_that_is_no_database_any_more_is_told_and_not_raised(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock) as store:
        await store.accept(Letters(clock).new(), [])
    overwritten(path, 4096, b"\xff" * 8192)
    assert integrity(path, MINUTE) != ()


async def test_it_ends_when_its_time_is_over(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock) as store:
        await store.accept(Letters(clock).new(), [])
    ask(
        path,
        """
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 50000)
        INSERT INTO suppressions (account, address, cause, origin, at, detail)
        SELECT 'app', n || '@example.net', 'manual', 'operator', 0, '' FROM number
        """,
    )
    with pytest.raises(TimeoutError):
        integrity(path, timedelta(0))
