"""Keeps a number of workers running: begins another where one died, later each time it dies soon; ends all in order.

What a worker is and how it is begun comes from outside; who asks about them, over the control socket, is `relay`'s.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from mta.clock import Clock
from mta.supervisor.lifeline import Order
from mta.supervisor.process import WorkerProcess, spelled

EX_CONFIG = 78
MARGIN = timedelta(seconds=30)
"""What a worker may take beyond its grace: the last commits, answers under way, the store's end."""
HURRY = timedelta(seconds=10)
"""What it may take when it was told not to wait."""
FIRST_GRACE = timedelta(minutes=1)
"""Of a worker that has not yet said how long its stop may take."""

_log = logging.getLogger(__name__)


class State(StrEnum):
    """What a worker's place is in."""

    STARTING = "starting"
    SERVING = "serving"
    DOWN = "down"
    """It died; another is begun after a while."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Place:
    """One worker's place, as it is now."""

    number: int
    state: State = State.STARTING
    pid: int | None = None
    deaths: int = 0
    """How many workers died here, without having been told to end."""
    last_end: str = ""
    """How the last of them ended."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before another worker is begun."""

    first: timedelta = timedelta(seconds=1)
    most: timedelta = timedelta(minutes=1)
    good: timedelta = timedelta(minutes=1)
    """A worker that lived that long died of something else than the one before."""

    def after(self, last: timedelta | None, lived: timedelta) -> timedelta:
        """Return the wait after a death, given the wait after the one before it."""
        if last is None or lived >= self.good:
            return self.first
        return min(last * 2, self.most)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long workers may take over their end."""

    margin: timedelta = MARGIN
    hurry: timedelta = HURRY
    first_grace: timedelta = FIRST_GRACE


@dataclass(frozen=True, slots=True)
class Berth:
    """What a new worker is begun with."""

    number: int
    lifeline: int
    """The descriptor of its end of the line."""


@dataclass(frozen=True, slots=True)
class Begin:
    """How to begin one."""

    command: Sequence[str]
    inherited: Sequence[int]


class Refused(Exception):
    """A worker found at its first start that the configuration cannot be used, and has said why."""


class Crew:
    """Workers from start to stop."""

    def __init__(
        self,
        count: int,
        begin: Callable[[Berth], Begin],
        clock: Clock,
        back_off: BackOff = BackOff(),
        patience: Patience = Patience(),
    ) -> None:
        """`begin` says how the worker of a berth is begun."""
        self._begin = begin
        self._clock = clock
        self._back_off = back_off
        self._patience = patience
        self._places = {number: Place(number) for number in range(1, count + 1)}
        self._processes: dict[int, WorkerProcess] = {}
        self._settled: set[int] = set()
        """Places whose first worker either serves or has died."""
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._graces: dict[int, timedelta] = {}
        self._killed = 0
        self._refused = False

    @property
    def places(self) -> tuple[Place, ...]:
        """The workers as they are now."""
        return tuple(self._places.values())

    @property
    def is_starting(self) -> bool:
        """Whether some worker has neither served nor died yet."""
        return len(self._settled) < len(self._places)

    @property
    def is_stopping(self) -> bool:
        """Whether the workers were told to end."""
        return self._stop.is_set()

    async def run(self) -> int:
        """Keep the workers running until `stop`; return how many had to be killed in the end.

        Raises:
            Refused: one of them cannot use the configuration; the others were ended.
        """
        async with asyncio.TaskGroup() as tasks:
            for number in self._places:
                tasks.create_task(self._keep(number))
        if self._refused:
            raise Refused
        return self._killed

    def stop(self) -> None:
        """Let all end in order; when called again, without waiting for what is under way."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all that serve: others would not know what it means."""
        for place, process in self._processes.items():
            if self._places[place].state is State.SERVING:
                process.signal(number)

    async def _keep(self, number: int) -> None:
        wait: timedelta | None = None
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                code = await self._one(number)
                how, pid = spelled(code), self._places[number].pid
            except OSError as error:
                code, how, pid = None, f"could not be begun: {error}", None
            if self._stop.is_set():
                break
            if code == EX_CONFIG and number not in self._settled:
                self._refused = True
                self._stop.set()
                break
            lived = timedelta(seconds=self._clock.monotonic() - began)
            wait = self._back_off.after(wait, lived)
            self._died(number, how)
            _log.error(
                "worker %d%s %s after %.0f s; another is begun in %g s",
                number,
                f" (process {pid})" if pid else "",
                how,
                lived.total_seconds(),
                wait.total_seconds(),
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(wait.total_seconds()):
                    await self._stop.wait()
        self._settled.add(number)
        self._note(number, state=State.ENDED, pid=None)

    async def _one(self, number: int) -> int:
        """Begin a worker and attend it to its end; return its exit code.

        Raises:
            OSError: none can be begun.
        """
        ours, theirs = socket.socketpair()
        self._note(number, state=State.STARTING, pid=None)
        with closing(theirs):
            how = self._begin(Berth(number, theirs.fileno()))
            process = await WorkerProcess.begin(how.command, ours, (theirs.fileno(), *how.inherited))
        self._processes[number] = process
        self._note(number, pid=process.pid)
        try:
            return await self._attend(number, process)
        except BaseException:
            process.signal(signal.SIGKILL)
            await process.ended()
            raise
        finally:
            del self._processes[number]

    async def _attend(self, number: int, process: WorkerProcess) -> int:
        async with asyncio.TaskGroup() as tasks:
            company = [
                tasks.create_task(self._listen(number, process)),
                tasks.create_task(self._end(number, process)),
            ]
            code = await process.ended()
            for task in company:
                task.cancel()
        return code

    async def _end(self, number: int, process: WorkerProcess) -> None:
        """When it is time, tell a worker to end; then not to wait; then end it."""
        await self._stop.wait()
        process.order(Order.STOP)
        patience = self._graces.get(number, self._patience.first_grace) + self._patience.margin
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await self._hurry.wait()
        except TimeoutError:
            _log.error("worker %d (process %d) has not ended in time", number, process.pid)
        process.order(Order.NOW)
        await asyncio.sleep(self._patience.hurry.total_seconds())
        _log.error("worker %d (process %d) does not end and is killed", number, process.pid)
        self._killed += 1
        process.signal(signal.SIGKILL)

    async def _listen(self, number: int, process: WorkerProcess) -> None:
        async for grace in process.graces():
            self._graces[number] = grace
            self._settled.add(number)
            self._note(number, state=State.SERVING)

    def _died(self, number: int, how: str) -> None:
        self._settled.add(number)
        self._note(number, state=State.DOWN, pid=None, deaths=self._places[number].deaths + 1, last_end=how)

    def _note(self, number: int, **changes: Any) -> None:
        self._places[number] = replace(self._places[number], **changes)
