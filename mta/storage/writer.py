"""The one writing connection of a worker, on a thread of its own, and the group commit.

A unit of work is a function of the connection. Units that wait together are committed together: one fsync answers all
of them. Each runs under a savepoint, so that one that fails spoils no other. Things of one kind that wait together are
handed to one unit, all at once, since each statement costs a fight for the interpreter's lock; where one statement does
all that waits, it is executed without a transaction around it. What a unit does is left to its owner; reading that
changes nothing goes elsewhere.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from mta.clock import Clock
from mta.errors import StoreInDoubt, StoreUnavailable
from mta.storage.connect import BUSY_TIMEOUT, connect, is_fatal, is_locked, translate, when_free
from mta.storage.units import I, InOne, OneStep, T, Together, Unit

MAX_GROUP = 200
"""Units in one commit: bounds how long the first of them waits for the others."""
MAX_WAITING = 2000
"""Units that may wait; past them a caller is refused at once."""
LINGER = 0.005
"""Seconds that units which hurry nobody wait for company."""
_COMPANY = 10
"""Units that need not wait for more of them: an eleventh makes the commit hardly cheaper for each."""


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """Bounds of a writer."""

    max_waiting: int = MAX_WAITING
    max_group: int = MAX_GROUP
    linger: float = LINGER
    lock_patience: float = BUSY_TIMEOUT
    """Seconds that a group waits for another process's transaction before its callers hear of it."""

    def __post_init__(self) -> None:
        if not 0 <= self.linger <= 0.05:
            raise ValueError(f"a unit may wait 0 to 0.05 s for company, not {self.linger}")


class _Job(Struct, frozen=True, eq=False):
    unit: Together[Any, Any]
    """One and the same for things that can be carried out together."""
    thing: Any
    answer: asyncio.Future[Any]
    patient: bool
    in_one: InOne[Any] | None = None


class _Answer(Struct, frozen=True):
    job: _Job
    value: Any = None
    error: Exception | None = None


class Writer:
    """Runs units of work, in the order in which they came, in as few commits as they allow.

    The thread is a daemon: a process that ends without `close` loses only what nobody was told is safe.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        settings: WriterSettings,
        on_commit: Callable[[int, float], None],
        opener: Callable[[str], sqlite3.Connection] = connect,
    ) -> None:
        """`on_commit` hears, on the event loop, of each commit: units and seconds. `opener` makes a connection."""
        self._path = path
        self._clock = clock
        self._settings = settings
        self._on_commit = on_commit
        self._opener = opener
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._handed_in: list[_Job] = []
        """Since the loop's last turn: they are passed on together, for each passing on wakes the thread."""
        self._waiting = 0
        self._other_at = 0.0
        """When something was last handed in that does not go in one step, by the loop's clock."""
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # the thread's own
        self._rest: list[_Job] = []
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, args=(self._loop,), name="mta-writer", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, unit: Unit[T], *, patient: bool = False) -> T:
        """Return what a unit returned, once its transaction is on stable storage.

        Cancelling the caller leaves the transaction alone: the unit is carried out, and nobody hears of it.

        Args:
            unit: Called on the writer's thread, inside a transaction; must neither commit nor roll back.
            patient: Nobody waits for it: it may be delayed by some milliseconds to share a commit.

        Raises:
            StoreInDoubt: nobody knows whether it was written; a look inside another unit tells.
            StoreUnavailable: nothing was written.
            StoreFull: the same, for lack of space.
            Exception: whatever the unit raised; nothing of it was written.
        """

        def alone(connection: sqlite3.Connection, _: Sequence[None]) -> Sequence[T]:
            return [unit(connection)]

        return await self.run_together(alone, None, patient=patient)

    async def run_together(
        self, unit: Together[I, T], thing: I, *, in_one: InOne[I] | None = None, patient: bool = False
    ) -> T:
        """Hand a thing to a unit, with all others that wait for that unit, and return what came of this one.

        They are carried out where the first of them stands in the order. When the unit raises, nothing of them is
        written, and each is carried out alone. When nothing else waits, and `in_one` knows a statement that does the
        same, that is carried out instead. In all else as `run`.
        """
        if self._loop is None or self._closed:
            raise StoreUnavailable(f"{self._path}: the store is closed")
        if self._waiting >= self._settings.max_waiting:
            raise StoreUnavailable(f"{self._path}: {self._waiting} transactions wait already")
        job = _Job(unit, thing, self._loop.create_future(), patient, in_one)
        if in_one is None:
            self._other_at = self._loop.time()
        self._waiting += 1
        self._handed_in.append(job)
        if len(self._handed_in) == 1:
            self._loop.call_soon(self._pass_on)
        value: T = await job.answer
        return value

    def has_other_work(self, within: float) -> bool:
        """Whether anything but what goes in one step was handed in within so many seconds."""
        return self._loop is None or self._loop.time() - self._other_at < within

    async def close(self) -> None:
        """Carry out what waits, close the connection, end the thread."""
        if self._thread is None or self._closed:
            return
        self._closed = True
        self._pass_on()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _pass_on(self) -> None:
        if self._handed_in:
            self._jobs.put(self._handed_in)
            self._handed_in = []

    def _answer(self, answers: list[_Answer], seconds: float) -> None:
        self._waiting -= len(answers)
        for one in answers:
            # a caller that was cancelled does not wait any more
            if one.job.answer.done():
                continue
            if one.error is not None:
                one.job.answer.set_exception(one.error)
            else:
                one.job.answer.set_result(one.value)
        if any(one.error is None for one in answers):
            self._on_commit(len(answers), seconds)

    # from here on: the writer's thread

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        going = True
        while going:
            group, going = self._gather()
            if group:
                began = self._clock.monotonic()
                answers = self._carry_out(group)
                # a loop that is gone has nobody left to hear the answers
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._answer, answers, self._clock.monotonic() - began)
        self._drop_connection()

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for work; return what is to be committed together, and whether more may come."""
        group = self._rest or self._jobs.get()
        self._rest = []
        until = self._clock.monotonic() + self._settings.linger
        while group is not None and len(group) < self._settings.max_group:
            hurry = len(group) >= _COMPANY or not all(job.patient for job in group)
            try:
                more = self._jobs.get(timeout=0.0 if hurry else max(0.0, until - self._clock.monotonic()))
            except queue.Empty:
                return group, True
            if more is None:
                return group, False
            group += more
        if group is None:
            return [], False
        self._rest = group[self._settings.max_group :]
        return group[: self._settings.max_group], True

    def _carry_out(self, group: list[_Job]) -> list[_Answer]:
        begun = committing = False
        answers: list[_Answer] = []
        try:
            connection = self._connection = self._connection or self._open()
            step = _in_one_step(connection, group)
            if step is not None:
                answers = self._answers(group, step.answers)
                committing = True
                if self._carried_out(connection, step):
                    return answers
                committing = False
            self._begin(connection)
            begun = True
            answers = self._run_all(connection, group)
            committing = True
            connection.execute("COMMIT")
        except Exception as error:
            # after an error of COMMIT or of the disk nobody knows what the connection holds: it is not trusted again.
            # A lock that was not to be had is no such error
            if begun or not isinstance(error, sqlite3.Error) or is_fatal(error):
                self._drop_connection()
            if committing and isinstance(error, sqlite3.Error) and is_fatal(error):
                return [self._in_doubt(one, error) for one in answers]
            # an exception for each: raising one in several tasks would mix up their tracebacks
            return [_Answer(job, error=self._translate(error)) for job in group]
        return answers

    def _open(self) -> sqlite3.Connection:
        connection = self._opener(self._path)
        # waiting is done in `_begin`; inside a write transaction there is nothing to wait for
        connection.execute("PRAGMA busy_timeout = 0")
        return connection

    def _carried_out(self, connection: sqlite3.Connection, step: OneStep) -> bool:
        """Carry out a step; return whether that was possible: if not, nothing of it is written.

        Without a transaction around it, it begins and commits by itself: the interpreter's lock is taken back once.

        Raises:
            sqlite3.Error: somebody held the lock all the time, or nobody knows whether it was written.
        """
        try:
            when_free(connection, step.statement, step.values, patience=self._settings.lock_patience)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and (is_fatal(error) or is_locked(error)):
                raise
            # the unit tells whose fault it is
            return False
        return True

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin a write transaction.

        Raises:
            sqlite3.OperationalError: somebody held the lock all the time.
        """
        when_free(connection, "BEGIN IMMEDIATE", patience=self._settings.lock_patience)

    def _run_all(self, connection: sqlite3.Connection, group: Sequence[_Job]) -> list[_Answer]:
        """Run all units of a group.

        Raises:
            sqlite3.Error: the whole transaction is lost.
        """
        runs = _by_unit(group)
        if len(runs) == 1:
            # nobody else's work to spare: no savepoint, which would be two statements more
            try:
                return self._answers(group, group[0].unit(connection, [job.thing for job in group]))
            except Exception as error:
                if isinstance(error, sqlite3.Error) and (is_fatal(error) or not connection.in_transaction):
                    raise
                connection.execute("ROLLBACK")
                self._begin(connection)
                if len(group) == 1:
                    return [self._failed(group[0], error)]
            runs = [[job] for job in group]
        return [answer for jobs in runs for answer in self._run(connection, jobs)]

    def _run(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> list[_Answer]:
        """Run a unit under a savepoint; if that fails, for each thing alone.

        Raises:
            sqlite3.Error: the whole transaction is lost.
        """
        connection.execute("SAVEPOINT unit")
        try:
            values = jobs[0].unit(connection, [job.thing for job in jobs])
        except Exception as error:
            if isinstance(error, sqlite3.Error) and (is_fatal(error) or not connection.in_transaction):
                raise
            connection.execute("ROLLBACK TO unit")
            connection.execute("RELEASE unit")
            if len(jobs) > 1:
                return [answer for job in jobs for answer in self._run(connection, [job])]
            return [self._failed(jobs[0], error)]
        connection.execute("RELEASE unit")
        return self._answers(jobs, values)

    def _failed(self, job: _Job, error: Exception) -> _Answer:
        return _Answer(job, error=self._translate(error) if isinstance(error, sqlite3.Error) else error)

    def _answers(self, jobs: Sequence[_Job], values: Sequence[object]) -> list[_Answer]:
        return [
            _Answer(job, error=value) if isinstance(value, Exception) else _Answer(job, value)
            for job, value in zip(jobs, values, strict=True)
        ]

    def _in_doubt(self, answer: _Answer, error: sqlite3.Error) -> _Answer:
        """What its frames in the log say is seen when the log is read anew, unless another commit overwrites them."""
        if answer.error is not None:
            return answer
        doubt = StoreInDoubt(f"{self._path}: {error}", answer.value)
        doubt.__cause__ = error
        return _Answer(answer.job, error=doubt)

    def _translate(self, error: Exception) -> StoreUnavailable:
        if isinstance(error, sqlite3.Error):
            told = translate(self._path, error)
        else:
            told = StoreUnavailable(f"{self._path}: {error!r}")
        told.__cause__ = error
        return told

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _in_one_step(connection: sqlite3.Connection, group: Sequence[_Job]) -> OneStep | None:
    """Return the statement that does what a group wants; None: there is none.

    Raises:
        sqlite3.Error: something had to be read, and could not be.
    """
    first = group[0]
    if first.in_one is None or any(job.unit != first.unit for job in group):
        return None
    try:
        return first.in_one(connection, [job.thing for job in group])
    except sqlite3.Error:
        raise
    except Exception:
        # the unit raises it again, for whoever it is meant for
        return None


def _by_unit(group: Iterable[_Job]) -> list[list[_Job]]:
    jobs: dict[Together[Any, Any], list[_Job]] = {}
    for job in group:
        jobs.setdefault(job.unit, []).append(job)
    return list(jobs.values())
