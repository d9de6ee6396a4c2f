"""Opens the database file: connections with the settings that durability rests on, and the checks before the first use.

`synchronous=FULL`: in WAL mode anything less may lose the last commits at a power loss, and a 250 was given for them.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mta.errors import StoreFull, StoreUnavailable
from mta.storage.checking import refuse_damaged
from mta.storage.migrate import migrate

MIN_VERSION = (3, 35, 0)
"""RETURNING came with it."""

BUSY_TIMEOUT = 5.0
"""Seconds that a transaction waits for another process before its callers hear of it."""

_NAP = 0.0003
_SOON = 0.1
_LONG_NAP = 0.005
"""Seconds between attempts to begin: commits of other workers take a few milliseconds; who has not ended after `_SOON`
is no worker at work, and is not asked thousands of times."""

# Texts without holes, since no parameter may stand in a PRAGMA. The first ones take effect in an empty file only. Pages
# of 8 and 16 KB made no difference with 4 KB mail; small ones write least for small changes.
_AT_BIRTH = ("PRAGMA page_size = 4096", "PRAGMA auto_vacuum = INCREMENTAL")
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    # about 4 MB of log between checkpoints: with four times as much no more was accepted, and long waits were longer
    "PRAGMA wal_autocheckpoint = 1000",
    # what the log's file keeps after a checkpoint, in octets: a burst of large mail does not keep the disk
    "PRAGMA journal_size_limit = 67108864",
)

_FATAL = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


def translate(path: str, error: sqlite3.Error) -> StoreUnavailable:
    """Return what our callers are told of an error of SQLite's."""
    if _code(error) == sqlite3.SQLITE_FULL:
        return StoreFull(f"{path}: no space: {error}")
    return StoreUnavailable(f"{path}: {error}")


def is_fatal(error: sqlite3.Error) -> bool:
    """Return whether a connection cannot be trusted after an error."""
    return _code(error) in _FATAL


def is_locked(error: sqlite3.Error) -> bool:
    """Return whether another process has what is wanted, for now."""
    return _code(error) == sqlite3.SQLITE_BUSY


def when_free(
    connection: sqlite3.Connection, statement: str, values: Sequence[object] = (), *, patience: float
) -> None:
    """Execute what needs the lock of the file, waiting up to `patience` seconds for other processes, in short naps.

    SQLite's own busy handler naps longer each time, up to 0.1 s: of two busy workers that share the file, the one that
    just committed is always there first, and the other was seen to wait for more than a second.

    Raises:
        sqlite3.OperationalError: somebody held the lock all the time.
    """
    waited = 0.0
    while True:
        try:
            connection.execute(statement, values)
            return
        except sqlite3.OperationalError as error:
            if not is_locked(error) or waited >= patience:
                raise
        nap = _NAP if waited < _SOON else _LONG_NAP
        time.sleep(nap)
        waited += nap


def folder_of(path: str) -> str:
    """Return the folder a database file stands in."""
    return os.path.dirname(os.path.abspath(path))


def uri_of(path: str) -> str:
    """Return the URI of an existing database: opening it never makes a file."""
    return Path(path).absolute().as_uri() + "?mode=rw"


def connect(path: str) -> sqlite3.Connection:
    """Return a connection for writing, its transactions begun and ended by hand.

    Raises:
        sqlite3.Error: the file cannot be opened or is no database.
    """
    connection = sqlite3.connect(
        uri_of(path),
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT,
        cached_statements=256,
    )
    try:
        connection.row_factory = sqlite3.Row
        empty = connection.execute("PRAGMA page_count").fetchone()[0] == 0
        # auto_vacuum would take the write lock of a file that has it already
        for setting in (*_AT_BIRTH, *_SETTINGS) if empty else _SETTINGS:
            connection.execute(setting)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare(path: str, now: int) -> None:
    """Make the database file if there is none, check it, and bring it to the schema of this version.

    Raises:
        StoreUnavailable: it is damaged, of a newer version, or cannot be opened; the message says what to do.
    """
    if sqlite3.sqlite_version_info < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: {wanted} or newer is needed")
    try:
        with _alone(path):
            _create(path)
            with closing(connect(path)) as connection:
                refuse_damaged(connection, path)
                migrate(connection, path, now)
    except sqlite3.Error as error:
        raise translate(path, error) from error
    except OSError as error:
        raise StoreUnavailable(f"{path}: cannot be opened: {error.strerror}; check the folder and its owner") from error


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Let one process at a time prepare a store: switching to WAL does not wait for locks. The folder is the lock."""
    folder = os.open(Path(path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
        # a file that was just made must still have its name after a power loss
        os.fsync(folder)
    finally:
        os.close(folder)


def _create(path: str) -> None:
    # an existing file is never opened here: closing it would drop SQLite's locks of this whole process (POSIX)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        os.chmod(path, 0o600)


def _code(error: sqlite3.Error) -> int:
    # the low octet is the primary code; errors of the Python module itself have none
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
