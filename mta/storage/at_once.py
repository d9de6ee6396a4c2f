"""An ordinary message, which has one delivery and not many octets, is written into all its tables in one step.

Between two steps a thread that writes has to get the interpreter's lock back: other threads find time for work beside
it only while a step is long. A temporary view is SQLite's way to make several inserts one: its trigger holds them, and
its columns are their parameters.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter

from msgspec import Struct

from mta.storage.bulk import MOST, PARAMETER
from mta.storage.rows import Params
from mta.storage.statements import Statements

_VIEW = "CREATE TEMP VIEW ordinary_messages AS SELECT "
_TRIGGER = "CREATE TEMP TRIGGER ordinary_messages_in INSTEAD OF INSERT ON ordinary_messages BEGIN "
_INSERT = "INSERT INTO ordinary_messages VALUES "
_LIST = re.compile(r"VALUES\s*\((?P<row>[^()]*)\)\s*\Z")


class Ordinary(Struct, frozen=True):
    """The rows of an ordinary message."""

    octets: bytes
    message: Params
    """But for where its octets are."""
    delivery: Params
    event: Params
    other_event: Params | None = None


class AtOnce:
    """The statement. A connection must be made ready for it."""

    def __init__(self, statements: Statements) -> None:
        given = {"content_at": "last_insert_rowid()", "pieces": "1"}
        content, message = statements["insert_content"], statements["insert_message"]
        delivery, event = statements["insert_delivery"], statements["insert_event"]
        self._message = _getter(message, given)
        self._delivery = _getter(delivery)
        self._event = _getter(event)
        self._no_event = (None,) * len(PARAMETER.findall(event))
        columns: list[str] = []
        inserts = [
            _from_view(content, "content", columns, {"id": "NULL"}),
            _from_view(message, "message", columns, given),
            _from_view(delivery, "delivery", columns),
            _from_view(event, "event", columns),
            _LIST.sub(r"SELECT \g<row> WHERE NEW.other_id IS NOT NULL", _from_view(event, "other", columns)),
        ]
        self._view = _VIEW + ", ".join("NULL AS " + name for name in columns)
        self._trigger = _TRIGGER + "; ".join(inserts) + "; END"
        row = "(" + ",".join("?" * len(columns)) + ")"
        self._texts = [_INSERT + ",".join([row] * count) for count in range(1, MOST + 1)]

    def ready(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        """Return a connection on which `run` can be called.

        Raises:
            sqlite3.Error: it is not usable, and closed.
        """
        try:
            # first, since a change of it removes what is temporary. What a statement of many rows needs to be undone
            # alone is kept so: in a file, it was a third of all that was written
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(self._view)
            connection.execute(self._trigger)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def run(self, connection: sqlite3.Connection, messages: Sequence[Ordinary]) -> None:
        """Write messages, in their order.

        Raises:
            sqlite3.Error: not all of them were written.
        """
        for start in range(0, len(messages), MOST):
            connection.execute(*self.step(messages[start : start + MOST]))

    def step(self, messages: Sequence[Ordinary]) -> tuple[str, Sequence[object]]:
        """Return the statement that writes one to `MOST` messages, and its parameters."""
        values = tuple(chain.from_iterable(chain.from_iterable(map(self._values, messages))))
        return self._texts[len(messages) - 1], values

    def _values(self, one: Ordinary) -> Iterator[Sequence[object]]:
        yield (one.octets,)
        yield self._message(one.message)
        yield self._delivery(one.delivery)
        yield self._event(one.event)
        yield self._no_event if one.other_event is None else self._event(one.other_event)


def _getter(statement: str, given: dict[str, str] | None = None) -> "itemgetter[Sequence[object]]":
    return itemgetter(*(name for name in PARAMETER.findall(statement) if name not in (given or {})))


def _from_view(statement: str, kind: str, columns: list[str], given: dict[str, str] | None = None) -> str:
    """Return a statement whose parameters are columns of the row that a trigger is for, and add them to the columns."""
    known = given or {}
    columns += [f"{kind}_{name}" for name in PARAMETER.findall(statement) if name not in known]
    return PARAMETER.sub(lambda found: known.get(found[1]) or f"NEW.{kind}_{found[1]}", statement)
