"""Reads all of a store's file, tables and indexes, and says what is wrong with it. The server may run meanwhile."""

import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

_INSTRUCTIONS = 100_000
"""Of SQLite's machine, between two looks at the time."""


def integrity(path: str, limit: timedelta) -> tuple[str, ...]:
    """Return what is wrong, nothing when the file is sound. Some seconds a gigabyte.

    While it reads, the log beside the file is not recycled and grows: that is what the limit is for.

    Raises:
        TimeoutError: it took longer than allowed.
        sqlite3.Error: the file cannot be opened.
    """
    until = time.monotonic() + limit.total_seconds()
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.set_progress_handler(lambda: int(time.monotonic() > until), _INSTRUCTIONS)
        try:
            found = tuple(str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)"))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise TimeoutError from None
            raise
        except sqlite3.DatabaseError as error:
            # so damaged that it cannot even be read through
            return (str(error),)
    return () if found == ("ok",) else found
