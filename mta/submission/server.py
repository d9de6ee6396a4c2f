"""The submission listeners: sockets opened, clients counted, and the order in which everything ends."""

import asyncio
import errno
import logging
import os
import socket
import ssl
from dataclasses import dataclass, replace
from datetime import timedelta
from types import TracebackType
from typing import Self

from mta.errors import ConfigError, Problem
from mta.submission.connection import Connection, Services
from mta.submission.settings import Endpoint, Kind, SubmissionSettings

_log = logging.getLogger(__name__)

_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Bound:
    """An address that is listened at."""

    kind: Kind
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Listener:
    kind: Kind
    socket: socket.socket
    server: asyncio.Server


class SubmissionServer:
    """Listens while it is entered: `async with SubmissionServer(…) as server`."""

    def __init__(self, services: Services, context: ssl.SSLContext) -> None:
        self._services = services
        self._context = context
        self._listeners: list[_Listener] = []
        self._bound: list[Bound] = []
        self._connections: set[Connection] = set()
        self._is_stopping = False

    async def __aenter__(self) -> Self:
        try:
            for endpoint in self._services.settings.endpoints:
                await self._open(endpoint)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # after an error, or a signal that asks not to wait, nobody is waited for
        await self._end(self._services.settings.stop_grace if error is None else timedelta(0))

    @property
    def addresses(self) -> tuple[Bound, ...]:
        """Where it listens, with the ports that were found free, in the order of the endpoints."""
        return tuple(self._bound)

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._connections)

    def replace_limits(self, settings: SubmissionSettings) -> None:
        """Use other limits for clients that come from now on. Our name, and where we listen, stay as they are."""
        own = self._services.settings
        kept = replace(settings, hostname=own.hostname, endpoints=own.endpoints, reuse_port=own.reuse_port)
        self._services = replace(self._services, settings=kept)

    async def replace_context(self, context: ssl.SSLContext) -> None:
        """Use another certificate for every handshake from now on. No client that is here or coming notices."""
        self._context = context
        for number, listener in enumerate(self._listeners):
            if listener.kind is Kind.TLS and not self._is_stopping:
                # the new one listens before the old one stops, at the same socket
                self._listeners[number] = await self._serve(listener.kind, listener.socket)
                listener.server.close()

    async def stop(self) -> None:
        """Take no more clients, tell the idle ones, finish what is being received, up to the grace. Can be repeated."""
        await self._end(self._services.settings.stop_grace)

    async def _end(self, grace: timedelta) -> None:
        self._is_stopping = True
        for listener in self._listeners:
            listener.server.close()
            listener.socket.close()
        for connection in tuple(self._connections):
            connection.shut_down()
        running = [connection.task for connection in self._connections if connection.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=grace.total_seconds())
            for task in late:
                task.cancel()
            if late:
                _log.warning("clients cut off in the middle of a message when the server stopped: %d", len(late))
                await asyncio.wait(late)
        await self._services.acceptor.finish()

    # --- for connections

    def admit(self, connection: Connection) -> bool:
        """Count a client, if there is room for it."""
        if self._is_stopping or len(self._connections) >= self._services.settings.max_connections:
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """A client has gone."""
        self._connections.discard(connection)

    def tls_context(self) -> ssl.SSLContext:
        """Return the certificate in use now."""
        return self._context

    async def _open(self, endpoint: Endpoint) -> None:
        try:
            opened = socket.create_server(
                (endpoint.host, endpoint.port),
                family=socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET,
                backlog=_BACKLOG,
                reuse_port=self._services.settings.reuse_port,
            )
        except OSError as error:
            raise ConfigError(_cannot_listen(endpoint, error)) from None
        try:
            self._listeners.append(await self._serve(endpoint.kind, opened))
        except BaseException:
            opened.close()
            raise
        host, port, *_ = opened.getsockname()
        self._bound.append(Bound(endpoint.kind, str(host), int(port)))

    async def _serve(self, kind: Kind, opened: socket.socket) -> "_Listener":
        # a server closes the socket it was given; ours stays for the next one
        handshake = self._services.settings.handshake_timeout.total_seconds() if kind is Kind.TLS else None
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._services, kind, self),
            sock=opened.dup(),
            backlog=_BACKLOG,
            ssl=self._context if kind is Kind.TLS else None,
            ssl_handshake_timeout=handshake,
        )
        return _Listener(kind, opened, server)


def _cannot_listen(endpoint: Endpoint, error: OSError) -> Problem:
    key = {Kind.STARTTLS: "listen", Kind.TLS: "listen_tls", Kind.PLAIN: "listen_plain"}[endpoint.kind]
    remedy = f"end the program that uses the port (ss -ltnp 'sport = :{endpoint.port}') or choose another"
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "ports below 1024 are for root: give the service CAP_NET_BIND_SERVICE, or choose a higher port"
    elif error.errno == errno.EADDRNOTAVAIL:
        remedy = "that is no address of this machine (ip address): choose one that is"
    reason = f"cannot listen on {endpoint.host} port {endpoint.port}: {os.strerror(error.errno or 0)}"
    return Problem("", None, f"submission.{key}", reason, remedy)
