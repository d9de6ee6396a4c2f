"""Is the database file sound? What is looked at before it is used: all of a small file, some places of a large one.

A complete look, which takes its time, is `integrity`. Octets of messages are not looked at here: each message has a
checksum that is compared before it is sent.
"""

import sqlite3

from mta.errors import StoreUnavailable

WHOLE_UP_TO = 256 * 1024 * 1024
"""Octets of a file that is looked at whole at every start: half a second, or some seconds from a slow disk."""

# the large tables, by the order in which they are kept
_ENDS = (
    "SELECT * FROM messages ORDER BY id LIMIT 1",
    "SELECT * FROM messages ORDER BY id DESC LIMIT 1",
    "SELECT * FROM deliveries ORDER BY id LIMIT 1",
    "SELECT * FROM deliveries ORDER BY id DESC LIMIT 1",
    "SELECT * FROM events ORDER BY seq LIMIT 1",
    "SELECT * FROM events ORDER BY seq DESC LIMIT 1",
)


def refuse_damaged(connection: sqlite3.Connection, path: str, whole_up_to: int = WHOLE_UP_TO) -> None:
    """Refuse a file that is damaged as far as can be seen in a moment: a large one is looked at in places only.

    Raises:
        StoreUnavailable: it is damaged; the message says what to do.
        sqlite3.Error: it cannot be read.
    """
    page_size = int(connection.execute("PRAGMA page_size").fetchone()[0])
    pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
    found = _whole(connection) if pages * page_size <= whole_up_to else _ends(connection)
    if found:
        raise StoreUnavailable(
            f"{path}: the database is damaged ({'; '.join(found)[:200]}); keep a copy of the file and its -wal, "
            f"save what can be read with: sqlite3 {path} .recover, or restore a backup"
        )


def _whole(connection: sqlite3.Connection) -> tuple[str, ...]:
    rows = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    if rows == ["ok"]:
        return ()
    # a row may have many lines, the first of them a title
    return tuple(line for row in rows for line in row.splitlines() if not line.startswith("***"))


def _ends(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Read the first and the last row of the large tables: the header, the schema, and a way down at either end."""
    found = []
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'messages'").fetchone() is not None
    for statement in _ENDS if made else ():
        try:
            connection.execute(statement).fetchone()
        except sqlite3.DatabaseError as error:
            found.append(f"{statement!r}: {error}")
    return tuple(found)
