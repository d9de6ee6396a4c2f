"""Many messages in one step: all their rows, each with its own octets, or none."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from mta.events import Event, EventType
from mta.queue.model import NewMessage
from mta.storage.at_once import AtOnce, Ordinary
from mta.storage.bulk import MOST
from mta.storage.connect import connect, prepare
from mta.storage.rows import delivery_params, event_params, message_params
from mta.storage.statements import Statements
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters

CLOCK = FakeClock()
ALL = """
    SELECT m.id, m.pieces, c.octets, m.header_size, d.recipient, d.state, e.type
    FROM messages AS m
    JOIN contents AS c ON c.id = m.content_at
    JOIN deliveries AS d ON d.queue_id = m.id
    JOIN events AS e ON e.queue_id = m.id
    ORDER BY m.id, e.id
"""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = str(tmp_path / "queue.db")
    prepare(path, 0)
    with closing(connect(path)) as connection:
        yield AtOnce(Statements.load()).ready(connection)


def ordinary(letters: Letters, number: int, *, held: bool = False) -> tuple[NewMessage, Ordinary]:
    new = letters.new([f"u{number}@example.net"], body=b"number %d\r\n" % number)
    events = [
        event_params(Event(id=letters.ids.next(), at=new.message.accepted_at, type=kind, queue_id=new.message.id))
        for kind in (EventType.ACCEPTED, EventType.HELD)[: 1 + held]
    ]
    header = len(new.content.header)
    rows = Ordinary(
        b"".join((new.content.header, *new.content.body)),
        message_params(new.message) | {"header_size": header},
        delivery_params(new.message, new.deliveries[0], 0),
        *events,
    )
    return new, rows


@pytest.mark.parametrize("count", [0, 1, 2, MOST - 1, MOST, MOST + 1, 2 * MOST + 3])
def test_every_message_is_written_once_with_its_own_octets(connection: sqlite3.Connection, count: int) -> None:
    letters = Letters(CLOCK)
    written = [ordinary(letters, number, held=number % 3 == 0) for number in range(count)]

    AtOnce(Statements.load()).run(connection, [rows for _, rows in written])

    expected = [
        (
            new.message.id,
            1,
            b"".join((new.content.header, *new.content.body)),
            len(new.content.header),
            str(new.deliveries[0].recipient.mailbox),
            "queued",
            kind,
        )
        for number, (new, _) in enumerate(written)
        for kind in ("accepted", "held")[: 1 + (number % 3 == 0)]
    ]
    assert [tuple(row) for row in connection.execute(ALL)] == expected


class Counting:
    """A connection that only counts what it is to do."""

    def __init__(self) -> None:
        self.steps = 0

    def execute(self, _statement: str, values: Sequence[object]) -> None:
        """Count a step."""
        assert values
        self.steps += 1


def test_the_steps_are_as_few_as_can_be() -> None:
    letters, connection = Letters(CLOCK), Counting()
    messages = [ordinary(letters, number)[1] for number in range(MOST + 1)]
    AtOnce(Statements.load()).run(cast(sqlite3.Connection, connection), messages)
    assert connection.steps == 2


def test_of_a_step_with_a_mistake_nothing_is_written(connection: sqlite3.Connection) -> None:
    letters = Letters(CLOCK)
    some = [ordinary(letters, number)[1] for number in range(3)]
    with pytest.raises(sqlite3.IntegrityError):
        AtOnce(Statements.load()).run(connection, [*some, some[1]])
    for table in ("messages", "contents", "deliveries", "events"):
        assert connection.execute("SELECT count(*) FROM " + table).fetchone()[0] == 0


def test_octets_follow_those_that_are_there(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO contents (id, octets) VALUES (41, x'00')")
    AtOnce(Statements.load()).run(connection, [ordinary(Letters(CLOCK), 1)[1]])
    assert connection.execute("SELECT content_at FROM messages").fetchone()[0] == 42


def test_deliveries_are_counted_by_their_state(connection: sqlite3.Connection) -> None:
    letters = Letters(CLOCK)
    AtOnce(Statements.load()).run(connection, [ordinary(letters, number)[1] for number in range(5)])
    assert connection.execute("SELECT count FROM open_counts WHERE state = 'queued'").fetchone()[0] == 5
