"""Migrations: from nothing to this version's schema, once, whole, and never back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mta.errors import StoreUnavailable
from mta.storage.connect import connect, prepare
from mta.storage.migrate import migrate, migrations, refuse_newer, version_of


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
        assert [row["applied_at"] for row in connection.execute("SELECT applied_at FROM schema_version")] == [5]


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
