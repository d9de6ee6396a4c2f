"""Brings a store to the schema of this version, one numbered file after the other. Never goes back."""

import sqlite3
from dataclasses import dataclass
from importlib import resources

from mta.errors import StoreUnavailable

_TABLE = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number, and the statements of its file."""

    version: int
    sql: str


def migrations() -> tuple[Migration, ...]:
    """Return the steps for SQLite, in order, numbered from 1 without gaps.

    Raises:
        ValueError: a number is missing or used twice.
    """
    folder = resources.files("mta.storage") / "sql" / "schema" / "sqlite"
    steps = sorted(
        (Migration(int(file.name.removesuffix(".sql")), file.read_text("utf-8")) for file in folder.iterdir()),
        key=lambda step: step.version,
    )
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError(f"migrations are numbered {[step.version for step in steps]}")
    return tuple(steps)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the number of the last step that a store has seen; 0 for an empty one."""
    known = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'"
    ).fetchone()
    if known is None:
        return 0
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0])


def refuse_newer(path: str, version: int, known: int) -> None:
    """Refuse a store that this version would misread.

    Raises:
        StoreUnavailable: the store's schema is newer than `known`.
    """
    if version > known:
        raise StoreUnavailable(
            f"{path}: the store was written by a newer version of mta (schema {version}; this one knows {known}); "
            "start that version again, or restore a backup made before the upgrade"
        )


def migrate(connection: sqlite3.Connection, path: str, now: int) -> None:
    """Apply the steps that are missing, each in a transaction of its own. The caller keeps other processes out.

    Raises:
        StoreUnavailable: the store is of a newer version.
        sqlite3.Error: a step failed; the steps before it stand.
    """
    steps = migrations()
    version = version_of(connection)
    refuse_newer(path, version, len(steps))
    for step in steps[version:]:
        try:
            connection.executescript("BEGIN IMMEDIATE;\n" + step.sql)
            connection.execute(_TABLE)
            connection.execute("INSERT INTO schema_version (version, applied_at) VALUES (?, ?)", (step.version, now))
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
