"""Idle connections, kept for the next letter to the same host, and the count of all connections.

How many of them one site may have is the dispatcher's business.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

from mta.clock import Clock
from mta.delivery.limits import PoolLimits
from mta.queue.seams import Host

_LOOK_EVERY = timedelta(seconds=1)


class Connection(Protocol):
    """What the pool needs to know of a session."""

    used: int

    @property
    def host(self) -> Host:
        """Whom it leads to; whether it meets a demand, whoever takes it has to tell."""
        ...

    @property
    def fit(self) -> bool:
        """Whether another transaction may begin."""
        ...

    def farewell(self) -> None:
        """Say QUIT and close without waiting."""
        ...

    async def leave(self, limit: timedelta) -> None:
        """Say QUIT and close, waiting for the answer for a while."""
        ...

    def drop(self) -> None:
        """Close at once."""
        ...


C = TypeVar("C", bound=Connection)


def _any(connection: Connection) -> bool:
    return True


class Pool(Generic[C]):
    """A place for each open connection, busy or idle; the idle ones by host, the freshest first."""

    def __init__(self, limits: PoolLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._places = asyncio.Semaphore(limits.max_connections)
        self._waiting = 0
        self._open = 0
        self._idle: dict[Host, deque[tuple[C, float]]] = {}
        self._closed = False

    @property
    def open(self) -> int:
        """How many connections there are: in use, idle, or being opened."""
        return self._open

    @property
    def idle(self) -> int:
        """How many connections wait for work."""
        return sum(map(len, self._idle.values()))

    async def reserve(self) -> None:
        """Wait for a place for a new connection; an idle one makes way at once."""
        if self._places.locked():
            self._make_way()
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        self._open += 1

    def release(self) -> None:
        """Give back the place of a connection that did not come about."""
        self._open -= 1
        self._places.release()

    def has(self, host: Host) -> bool:
        """Whether there is an idle connection to a host, for whatever it may be good."""
        return host in self._idle

    def take(self, host: Host, suits: Callable[[C], bool] = _any) -> C | None:
        """Return the freshest idle connection to a host that suits, now the caller's, or None."""
        waiting = self._idle.get(host)
        if waiting is None:
            return None
        found: C | None = None
        for place in reversed(range(len(waiting))):
            connection, _ = waiting[place]
            if connection.fit and not suits(connection):
                continue
            del waiting[place]
            if connection.fit:
                found = connection
                break
            self._end(connection)
        if not waiting:
            del self._idle[host]
        return found

    def give_back(self, connection: C) -> None:
        """Take back a connection after use: it waits for more, or ends here."""
        spent = connection.used >= self._limits.messages_per_connection
        if self._closed or spent or not connection.fit or self._waiting or self._limits.idle <= timedelta(0):
            self._end(connection)
        else:
            self._idle.setdefault(connection.host, deque()).append((connection, self._clock.monotonic()))

    def expire(self) -> None:
        """End what has been idle for too long, and what the other side has closed."""
        oldest = self._clock.monotonic() - self._limits.idle.total_seconds()
        for host, waiting in list(self._idle.items()):
            kept: deque[tuple[C, float]] = deque()
            for one, since in waiting:
                if since > oldest and one.fit:
                    kept.append((one, since))
                else:
                    self._end(one)
            if kept:
                self._idle[host] = kept
            else:
                del self._idle[host]

    async def tend(self) -> None:
        """Call `expire` for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY.total_seconds())
            self.expire()

    async def close(self, limit: timedelta) -> None:
        """End the idle connections with QUIT, all at once, each within a limit; keep none from now on."""
        self._closed = True
        idle = [one for waiting in self._idle.values() for one, _ in waiting]
        self._idle.clear()
        async with asyncio.TaskGroup() as group:
            for one in idle:
                group.create_task(one.leave(limit))
        for _ in idle:
            self.release()

    def _make_way(self) -> None:
        """End the connection that has been idle for longest."""
        host = min(self._idle, key=lambda host: self._idle[host][0][1], default=None)
        if host is None:
            return
        connection, _ = self._idle[host].popleft()
        if not self._idle[host]:
            del self._idle[host]
        self._end(connection)

    def _end(self, connection: C) -> None:
        connection.farewell()
        self.release()
