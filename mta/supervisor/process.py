"""One worker process, as its supervisor has it: how it is begun, what it says, how it is ended and how it ended."""

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Self

import mta
from mta.supervisor.lifeline import Order, grace_of


class WorkerProcess:
    """A process with a lifeline. It is in a session of its own, so that Ctrl-C reaches the supervisor alone."""

    def __init__(
        self, process: asyncio.subprocess.Process, said: asyncio.StreamReader, orders: asyncio.StreamWriter
    ) -> None:
        """Use `begin`."""
        self._process = process
        self._said = said
        self._orders = orders

    @classmethod
    async def begin(cls, command: Sequence[str], ours: socket.socket, inherited: Sequence[int]) -> Self:
        """Begin a process that inherits some descriptors. `ours` is this end of its lifeline.

        Raises:
            OSError: the machine can begin none.
        """
        said, orders = await asyncio.open_connection(sock=ours)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, pass_fds=tuple(inherited), start_new_session=True
            )
        except BaseException:
            orders.close()
            raise
        return cls(process, said, orders)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def graces(self) -> AsyncIterator[timedelta]:
        """Give what the worker says, each time that it says it takes mail: how long its stop may take."""
        while line := await self._read():
            try:
                yield grace_of(line)
            except ValueError:
                continue  # of another version, in the middle of an upgrade

    def order(self, order: Order) -> None:
        """Tell it something. One that has ended does not hear."""
        self._orders.write(f"{order}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal. One that has ended does not get it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end; return its exit code, or minus the number of the signal that killed it."""
        code = await self._process.wait()
        self._orders.close()
        return code

    async def _read(self) -> bytes:
        try:
            return await self._said.readline()
        except (OSError, ValueError):
            return b""


def python_command() -> list[str]:
    """Return how Python is begun for another program of ours."""
    # it would look for modules in the folder that the server happens to be started in, before all others; where this
    # very package was found there, it must
    from_here = Path(mta.__path__[0]).parent == Path.cwd()
    return [sys.executable] if from_here else [sys.executable, "-P"]


def worker_command(config: str, options: Sequence[str]) -> list[str]:
    """Return the command line of a worker that reads a configuration."""
    return [*python_command(), "-m", "mta", "-c", config, "serve", *options]


def spelled(code: int) -> str:
    """Return how a process ended, for people."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
