"""Connecting to one of a host's addresses, the next one being tried while the first is still silent (RFC 8305 §5)."""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

AT_ONCE = 3
"""Connections that are waited for at the same time."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A connection, the receiver's to close."""

    address: str
    socket: socket.socket


@dataclass(frozen=True, slots=True)
class Missed:
    """An address that could not be connected to. TimeoutError when the limit passed."""

    address: str
    error: OSError
    took: timedelta


@dataclass(frozen=True, slots=True)
class Dialled:
    """What came of it. Addresses in neither were not tried, or given up when another one answered."""

    reached: Reached | None
    missed: tuple[Missed, ...] = ()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited."""

    limit: timedelta = timedelta(seconds=30)
    """For one address."""
    stagger: timedelta = timedelta(seconds=0.3)
    """Before the next address is tried besides; RFC 8305 §5 has 0.25 s."""


def interleaved(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return addresses with the families taking turns, so that a broken one costs a moment only (RFC 8305 §4)."""
    first = [one for one in addresses if (":" in one) == (":" in addresses[0])]
    others = [one for one in addresses if (":" in one) != (":" in addresses[0])]
    turns = [one for pair in zip(first, others, strict=False) for one in pair]
    short = min(len(first), len(others))
    return (*turns, *first[short:], *others[short:])


async def dial(addresses: Sequence[str], port: int, patience: Patience) -> Dialled:
    """Connect to the first address that answers, in order, each next one a moment later. There is one at least."""
    race = _Race(port, patience)
    if len(addresses) == 1:
        await race.run(addresses[0])  # the usual case, without tasks
    else:
        await race.start(addresses)
    return Dialled(race.reached, tuple(race.missed))


async def dial_socket(path: str, patience: Patience) -> Dialled:
    """Connect to a local socket."""
    race = _Race(0, patience)
    await race.run(path, family=socket.AF_UNIX)
    return Dialled(race.reached, tuple(race.missed))


class _Race:
    """Several connections, one of which wins."""

    def __init__(self, port: int, patience: Patience) -> None:
        self.reached: Reached | None = None
        self.missed: list[Missed] = []
        self._port = port
        self._patience = patience
        self._under_way = 0
        self._news = asyncio.Event()

    async def start(self, addresses: Sequence[str]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = []
                for address in addresses:
                    self._under_way += 1
                    tasks.append(group.create_task(self.run(address)))
                    await self._wait(self._patience.stagger)
                    while self.reached is None and self._under_way >= AT_ONCE:
                        await self._wait(None)
                    if self.reached is not None:
                        break
                while self.reached is None and self._under_way:
                    await self._wait(None)
                for task in tasks:
                    task.cancel()
        except BaseException:
            if self.reached is not None:
                self.reached.socket.close()
            raise

    async def run(self, address: str, family: socket.AddressFamily | None = None) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._patience.limit.total_seconds()):
                connected = await _connect(address, self._port, family)
        except OSError as error:  # TimeoutError is one
            self.missed.append(Missed(address, error, timedelta(seconds=time.monotonic() - began)))
        else:
            if self.reached is None:
                self.reached = Reached(address, connected)
            else:
                connected.close()
        finally:
            self._under_way -= 1
            self._news.set()

    async def _wait(self, span: timedelta | None) -> None:
        """Wait until a connection came about or failed, at most for a while."""
        try:
            async with asyncio.timeout(None if span is None else span.total_seconds()):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()


async def _connect(address: str, port: int, family: socket.AddressFamily | None) -> socket.socket:
    if family is None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if family != socket.AF_UNIX:
            # asyncio does so only for sockets that it makes itself; without, the dot waits 40 ms for the content's ACK
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = address if family == socket.AF_UNIX else (address, port)
        await asyncio.get_running_loop().sock_connect(made, target)
    except BaseException:
        made.close()
        raise
    return made
