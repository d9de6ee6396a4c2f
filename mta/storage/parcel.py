"""The one file in which a queue travels from one machine to another: made, sealed, opened, and checked.

It is an SQLite database of the store's own schema, with the messages, octets and deliveries that were exported, and a
label. Until it is sealed nobody opens it. What its coming and going means for a store is left to `moving`.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mta.errors import StoreUnavailable
from mta.storage.connect import connect, prepare
from mta.storage.rows import Params, message_from
from mta.storage.statements import Statements

_LABEL = "CREATE TABLE parcel (id TEXT PRIMARY KEY, made_at INTEGER NOT NULL, sealed INTEGER NOT NULL)"
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Copy:
    """A message with its octets and some of its deliveries, as rows."""

    message: sqlite3.Row
    contents: tuple[bytes, ...]
    deliveries: tuple[sqlite3.Row, ...]


class Parcel:
    """A file on its way. Every method waits for the disk."""

    def __init__(self, connection: sqlite3.Connection, path: Path, id: str) -> None:
        """Use `make` or `open`."""
        self._sql = Statements.load()
        self._connection = connection
        self._path = path
        self.id = id

    @classmethod
    def make(cls, path: Path, id: str, now: int) -> Self:
        """Begin a parcel.

        Raises:
            StoreUnavailable: there is a file already, or it cannot be made.
        """
        if path.exists():
            raise StoreUnavailable(f"{path} is there already; move it away, or name another file")
        prepare(str(path), now)
        connection = connect(str(path))
        connection.execute(_LABEL)
        connection.execute("INSERT INTO parcel (id, made_at, sealed) VALUES (?, ?, 0)", (id, now))
        return cls(connection, path, id)

    @classmethod
    def open(cls, path: Path, now: int) -> Self:
        """Open a parcel that is sealed, and bring it to the schema of this version.

        Raises:
            StoreUnavailable: it is none, is not complete, is damaged, or is of a newer version.
        """
        if not path.exists():
            raise StoreUnavailable(f"{path}: there is no such file")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as looked_at:
            try:
                row = looked_at.execute("SELECT id, sealed FROM parcel").fetchone()
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{path}: this is not what `mta queue export` writes: {error}") from error
        if row is None or not row[1]:
            raise StoreUnavailable(
                f"{path}: the export did not come to its end; run it again on the machine it is from"
            )
        prepare(str(path), now)
        return cls(connect(str(path)), path, str(row[0]))

    def add(self, copies: Iterable[Copy]) -> None:
        """Write copies down. Of a message that is there already, the deliveries are added."""
        with self._transaction():
            for copy in copies:
                add_copy(self._connection, self._sql, copy, {})

    def drop(self, delivery_ids: Iterable[str]) -> None:
        """Take deliveries out again, and messages of which none is left."""
        with self._transaction():
            for id in delivery_ids:
                self._connection.execute(self._sql["drop_delivery"], {"id": id})
            for row in self._connection.execute(self._sql["drop_empty"]).fetchall():
                self._connection.execute(self._sql["forget_octets"], dict(row))

    def seal(self) -> None:
        """Say that it is complete, in one file without a log beside it."""
        self._connection.execute("UPDATE parcel SET sealed = 1")
        self._connection.execute("PRAGMA journal_mode = DELETE")
        self.close()
        for each in (self._path, self._path.absolute().parent):
            descriptor = os.open(each, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def count(self) -> int:
        """Return how many messages are in it."""
        return int(self._connection.execute("SELECT count(*) FROM messages").fetchone()[0])

    def pages(self) -> Iterator[Sequence[Copy]]:
        """Yield what is in it, some messages at a time."""
        place = {"after": "", "limit": _PAGE}
        while messages := self._connection.execute(self._sql["copied_page"], place).fetchall():
            place = {"after": messages[-1]["id"], "limit": _PAGE}
            yield [self._copy(message) for message in messages]

    def verify(self, copy: Copy) -> None:
        """Compare a message's octets with its checksum.

        Raises:
            StoreUnavailable: they are others, or a row cannot be read.
        """
        size = copy.message["header_size"]
        octets = b"".join(copy.contents)
        digest = hashlib.sha256(b"\r\n".join((octets[:size], octets[size:]))).digest()
        try:
            message_from(copy.message)
        except ValueError as error:
            raise StoreUnavailable(f"{self._path}: message {copy.message['id']} is unreadable: {error}") from error
        if digest != copy.message["checksum"]:
            raise StoreUnavailable(
                f"{self._path}: the octets of message {copy.message['id']} are not those that were accepted; "
                "copy the file again"
            )

    def _copy(self, message: sqlite3.Row) -> Copy:
        deliveries = self._connection.execute(self._sql["deliveries_of"], {"id": message["id"]}).fetchall()
        return read_copy(self._connection, self._sql, message, deliveries)

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection)


class _Transaction:
    """A transaction that is rolled back by an error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


def read_copy(
    connection: sqlite3.Connection, statements: Statements, message: sqlite3.Row, deliveries: Iterable[sqlite3.Row]
) -> Copy:
    """Return a message's row with its octets and the deliveries that are given."""
    rows = connection.execute(statements["octets_at"], dict(message)).fetchall()
    return Copy(message, tuple(bytes(row["octets"]) for row in rows), tuple(deliveries))


def add_copy(connection: sqlite3.Connection, statements: Statements, copy: Copy, changes: Params) -> None:
    """Write a copy into tables of the same schema, with some columns of its deliveries changed.

    The message may be there already, of other deliveries, and may have lost its octets with the last of them.
    """
    id = copy.message["id"]
    there = connection.execute(statements["place_of_octets"], {"id": id}).fetchone()
    if there is None:
        place = {"content_at": _add_contents(connection, statements, copy)}
        connection.execute(statements["add_message"], dict(copy.message) | place)
    else:
        found = dict(there)
        if found["content_at"] is None:
            found = {"content_at": _add_contents(connection, statements, copy), "pieces": len(copy.contents)}
        connection.execute(statements["octets_are_at"], found | {"id": id})
    for delivery in copy.deliveries:
        connection.execute(statements["add_delivery"], dict(delivery) | changes)


def _add_contents(connection: sqlite3.Connection, statements: Statements, copy: Copy) -> int | None:
    """Write octets; return the number of their first row."""
    add = statements["append_content"]
    numbers = [connection.execute(add, {"octets": octets}).lastrowid for octets in copy.contents]
    return numbers[0] if numbers else None
