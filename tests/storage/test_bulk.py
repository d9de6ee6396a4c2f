"""Many rows in one step: their order, their number, and which statements can be written so."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from mta.storage.bulk import MOST, Bulk
from mta.storage.rows import Params

ADD = "INSERT INTO words (id, word, note) VALUES (:id, :word, 'new')"
CHANGE = """WITH changed (id, word) AS (
    VALUES (
    :id, :word))
UPDATE words SET word = changed.word FROM changed WHERE words.id = changed.id AND note = 'new'"""


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, note TEXT)")
        yield connection


def rows(count: int) -> list[Params]:
    # in another order than the statement's, and with something that it does not name
    return [{"word": f"w{number}", "more": b"", "id": number} for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, MOST - 1, MOST, MOST + 1, 3 * MOST + 5])
def test_every_row_is_written_once_in_its_order(connection: sqlite3.Connection, count: int) -> None:
    Bulk(ADD).run(connection, rows(count))
    found = connection.execute("SELECT id, word, note FROM words ORDER BY rowid").fetchall()
    assert found == [(number, f"w{number}", "new") for number in range(count)]


def test_rows_may_be_what_an_update_goes_by(connection: sqlite3.Connection) -> None:
    Bulk(ADD).run(connection, rows(MOST + 2))
    connection.execute("UPDATE words SET note = 'old' WHERE id = 1")
    Bulk(CHANGE).run(connection, [row | {"word": "changed"} for row in rows(MOST + 1)])
    same = [id for (id,) in connection.execute("SELECT id FROM words WHERE word != 'changed' ORDER BY id")]
    assert same == [1, MOST + 1]


def test_the_steps_are_as_few_as_can_be(connection: sqlite3.Connection) -> None:
    steps: list[str] = []
    connection.set_trace_callback(steps.append)
    Bulk(ADD).run(connection, rows(MOST + 1))
    assert len(steps) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM words WHERE id = :id",
        "INSERT INTO words (id) VALUES (:id)",
        "INSERT INTO words (id, word) VALUES (1, 'a')",
        "INSERT INTO words (id, word) VALUES (:id, :word) ON CONFLICT (id) DO UPDATE SET word = :other",
        "INSERT INTO words (id, word) VALUES (:id, :word), VALUES (:id, :word)",
    ],
)
def test_a_statement_without_one_row_of_parameters_is_refused(statement: str) -> None:
    with pytest.raises(ValueError, match="no statement of one row"):
        Bulk(statement)
