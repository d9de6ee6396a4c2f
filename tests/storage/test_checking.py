"""Is a file sound, and how much is looked at to tell."""

from contextlib import closing
from pathlib import Path

import pytest

from mta.errors import StoreUnavailable
from mta.storage.checking import WHOLE_UP_TO, refuse_damaged
from mta.storage.connect import connect
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask, open_store


@pytest.fixture
async def filled(path: str, clock: FakeClock) -> str:
    async with open_store(path, clock) as store:
        await fill(store, clock)
    ask(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    return path


async def fill(store: SqliteStore, clock: FakeClock) -> None:
    letters = Letters(clock)
    for number in range(100):
        await store.accept(letters.new([f"u{number}@example.net"], body=b"x" * 3000), [])


def spoil(path: str, page: int) -> None:
    """Overwrite a page of the file."""
    with Path(path).open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)


def root_of(path: str, name: str) -> int:
    (row,) = ask(path, "SELECT rootpage FROM sqlite_master WHERE name = ?", name)
    assert isinstance(row[0], int)
    return row[0]


def test_a_sound_file_is_sound_however_it_is_looked_at(filled: str) -> None:
    with closing(connect(filled)) as connection:
        refuse_damaged(connection, filled)
        refuse_damaged(connection, filled, whole_up_to=0)


@pytest.mark.parametrize("name", ["messages", "deliveries"])
@pytest.mark.parametrize("whole_up_to", [0, WHOLE_UP_TO])
def test_a_table_that_cannot_be_entered_is_damage_by_either_look(filled: str, name: str, whole_up_to: int) -> None:
    spoil(filled, root_of(filled, name))
    with closing(connect(filled)) as connection, pytest.raises(StoreUnavailable, match=r"damaged.*\.recover"):
        refuse_damaged(connection, filled, whole_up_to)


def test_damage_in_an_index_is_found_by_the_complete_look_only(filled: str) -> None:
    spoil(filled, root_of(filled, "deliveries_by_recipient"))
    with closing(connect(filled)) as connection:
        refuse_damaged(connection, filled, whole_up_to=0)
        with pytest.raises(StoreUnavailable, match="damaged"):
            refuse_damaged(connection, filled)


def test_an_empty_file_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    path.touch()
    with closing(connect(str(path))) as connection:
        refuse_damaged(connection, str(path), whole_up_to=-1)


def test_a_bounded_look_reads_the_same_of_a_large_file_as_of_a_small_one(filled: str) -> None:
    steps: list[int] = []
    with closing(connect(filled)) as connection:
        connection.set_progress_handler(lambda: steps.append(1), 100)
        refuse_damaged(connection, filled, whole_up_to=0)
    assert len(steps) < 20
