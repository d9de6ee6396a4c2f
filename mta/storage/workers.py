"""Gives each worker a number that no other live worker has: identifiers and leases carry it."""

import sqlite3
from datetime import timedelta

from mta.mail.ids import MAX_WORKER
from mta.storage.statements import Statements

KEPT = timedelta(days=2)
"""A number rests this long after its worker was last seen, so that a step of the clock does not repeat identifiers."""

BEAT = timedelta(seconds=20)
"""How often a worker notes that it lives."""


def take_number(connection: sqlite3.Connection, statements: Statements, pid: int, now: int) -> int:
    """Return the next number, from 1 to `MAX_WORKER` and round again, passing over those in use.

    Runs in a transaction of the caller's.

    Raises:
        RuntimeError: every number is in use.
    """
    connection.execute(statements["forget_workers"], {"before": now - KEPT // timedelta(milliseconds=1)})
    newest = connection.execute(statements["newest_worker"]).fetchone()
    used = {int(row["number"]) for row in connection.execute(statements["worker_numbers"])}
    last = 0 if newest is None else int(newest["number"])
    for step in range(MAX_WORKER):
        number = (last + step) % MAX_WORKER + 1
        if number not in used:
            connection.execute(statements["insert_worker"], {"number": number, "pid": pid, "now": now})
            return number
    raise RuntimeError(f"all {MAX_WORKER} worker numbers are in use")
