"""Gives each worker a number that no other live worker has: identifiers and leases carry it. And tells who lives."""

import fcntl
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

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


class Liveness:
    """Says that a worker lives, by a file that its process has locked, and finds those that died.

    The kernel lets go of a lock with the process, however that ends. A number is not given twice while its file is
    there, nor soon after. Entered before a worker has its number, left when it will write nothing more.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is the one that the store is in: a number is one of its workers."""
        self._folder = folder
        self._own: Path | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is None:
            return
        if kind is None:
            self._own.unlink(missing_ok=True)
        # after an error others look what this worker may have left leased
        os.close(self._descriptor)
        self._own = None

    def hold(self, number: int) -> None:
        """Say from now on that the worker of a number lives.

        Raises:
            OSError: the file cannot be made.
        """
        path, fresh = self._folder / f"worker.{number}.lock", self._folder / f".worker.{number}.new"
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # locked before it has its name: nobody ever takes it for a dead worker's
            fresh.replace(path)
        except OSError:
            os.close(descriptor)
            raise
        self._own, self._descriptor = path, descriptor

    async def follow_the_dead(self, give_back: Callable[[int], Awaitable[int]]) -> int:
        """Have given back what dead workers had leased; return how much it was. The first who looks sees to it.

        Args:
            give_back: Gives back all that the worker of a number has leased, and returns how much it was.

        Raises:
            OSError: the folder cannot be read.
            Exception: whatever `give_back` raised; the rest is seen to the next time.
        """
        given_back = 0
        for path in self._folder.glob("worker.*.lock"):
            number = path.name.split(".")[1]
            if path == self._own or not number.isascii() or not number.isdigit():
                continue
            with _locked(path) as is_dead:
                if is_dead:
                    given_back += await give_back(int(number))
                    path.unlink(missing_ok=True)
        return given_back


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a worker's lock, if nobody does; while it is held nobody else takes the worker for a dead one."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield _is_there(path, descriptor)
    finally:
        os.close(descriptor)


def _is_there(path: Path, descriptor: int) -> bool:
    """Return whether a file that was opened still has its name."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
