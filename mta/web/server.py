"""Uvicorn inside our own event loop: our sockets, our signals, our log, and an end within a bound.

What is answered is `app`'s. Nothing here trusts a proxy's header.
"""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from mta.config.addresses import Listen
from mta.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one client, and all of them, may take."""

    header_octets: int = 16 * 1024
    connections: int = 100
    """Above it a request is answered 503."""
    request_time: timedelta = timedelta(seconds=30)
    """A connection that has not brought a whole request header for one to two times this long is closed."""
    keep_alive: timedelta = timedelta(seconds=5)
    stop: timedelta = timedelta(seconds=5)
    """How long responses under way may take at the end."""


class HttpServer:
    """Serves an application while it is entered.

    Raises:
        ConfigError: on entering, when an address cannot be bound; nothing is served then.
    """

    def __init__(
        self,
        listen: Sequence[Listen],
        app: ASGIApp,
        limits: HttpLimits = HttpLimits(),
        handed: Sequence[socket.socket] | None = None,
    ) -> None:
        """`handed`: sockets that listen already, one for each address, which are closed here."""
        self._listen = tuple(listen)
        self._limits = limits
        self._handed = handed
        self._tasks = asyncio.TaskGroup()
        self._sockets: list[socket.socket] = []
        self._serving: asyncio.Task[None] | None = None
        self._server = _Server(_configuration(app, limits))
        self.addresses: tuple[Listen, ...] = ()
        """Where it listens, with the ports that port 0 became."""

    @property
    def is_up(self) -> bool:
        """Whether it takes connections."""
        return self._serving is not None and not self._serving.done() and self._server.started

    async def __aenter__(self) -> Self:
        self._sockets = bound(self._listen) if self._handed is None else list(self._handed)
        self.addresses = tuple(Listen(*one.getsockname()[:2]) for one in self._sockets)
        await self._tasks.__aenter__()
        self._serving = self._tasks.create_task(self._server.serve(self._sockets))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving. What came from inside the block goes on as it is, in no ExceptionGroup."""
        self._server.should_exit = True
        try:
            # responses under way have their time in there; the rest is for what does not even end when cancelled
            if self._serving is not None:
                await asyncio.wait({self._serving}, timeout=self._limits.stop.total_seconds() + 5)
        finally:
            if self._serving is not None:
                self._serving.cancel()
            await self._tasks.__aexit__(None, None, None)
            for one in self._sockets:
                one.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the daemon has its own order of stopping."""
        yield


class _Protocol(H11Protocol):
    """uvicorn's, with an end for clients that never finish a request header (it waits for them without bound)."""

    _watch: asyncio.TimerHandle | None = None
    _seen: object = None
    request_time: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch = self.loop.call_later(self.request_time, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close the connection if no request came since the last look and none is being answered."""
        if self.cycle is self._seen and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
            return
        self._seen = self.cycle
        self._watch = self.loop.call_later(self.request_time, self._look)


def _configuration(app: ASGIApp, limits: HttpLimits) -> uvicorn.Config:
    # h11, not httptools: it bounds the size of a request's header
    protocol = type("BoundedProtocol", (_Protocol,), {"request_time": limits.request_time.total_seconds()})
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=limits.header_octets,
        limit_concurrency=limits.connections,
        timeout_keep_alive=int(limits.keep_alive.total_seconds()),
        timeout_graceful_shutdown=int(limits.stop.total_seconds()),
    )


def bound(listen: Sequence[Listen]) -> list[socket.socket]:
    """Return a listening socket for each address.

    Raises:
        ConfigError: one of them cannot be bound; none is.
    """
    sockets: list[socket.socket] = []
    try:
        for address in listen:
            sockets.append(_bind(address))
    except ConfigError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _bind(address: Listen) -> socket.socket:
    host = "127.0.0.1" if address.host == "localhost" else address.host
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if one.family == socket.AF_INET6:
            # "[::]" beside "0.0.0.0" must not claim both
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((host, address.port))
        # from here on clients wait for us instead of being refused
        one.listen(socket.SOMAXCONN)
    except OSError as error:
        one.close()
        raise ConfigError(
            Problem(
                file="",
                line=None,
                key="http.listen",
                reason=f"cannot listen on {address}: {error.strerror or error}",
                remedy=f"end the program that uses the port (ss -ltnp 'sport = :{address.port}') or choose another",
            )
        ) from None
    return one
