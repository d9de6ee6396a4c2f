"""A door's listeners: sockets opened, clients counted, and the order in which everything ends."""

import asyncio
import errno
import logging
import os
import socket
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from types import TracebackType
from typing import ClassVar, Self

from mta.errors import ConfigError, Problem
from mta.smtp.session import Session
from mta.smtp.settings import DoorSettings, Endpoint, Kind
from mta.smtp.unbroken import Unbroken

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


class DoorServer(ABC):
    """Listens while it is entered: `async with` a subclass of it, which makes the sessions."""

    keys: ClassVar[Mapping[Kind, str]]
    """Where in the configuration the endpoints of each kind stand."""

    def __init__(self, settings: DoorSettings, context: ssl.SSLContext, unbroken: Unbroken) -> None:
        """`unbroken`: what the sessions have begun and must not be left undone."""
        self._settings = settings
        self._context = context
        self._unbroken = unbroken
        self._listeners: list[_Listener] = []
        self._bound: list[Bound] = []
        self._sessions: dict[Session, str] = {}
        self._neighbours: Counter[str] = Counter()
        self._is_stopping = False

    @abstractmethod
    def _session(self, kind: Kind) -> Session:
        """Return what speaks with a client that comes now."""

    async def __aenter__(self) -> Self:
        try:
            for endpoint in self._settings.endpoints:
                await self._open(endpoint)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # after an error, or a signal that asks not to wait, nobody is waited for
        await self._end(self._settings.stop_grace if error is None else timedelta(0))

    @property
    def addresses(self) -> tuple[Bound, ...]:
        """Where it listens, with the ports that were found free, in the order of the endpoints."""
        return tuple(self._bound)

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._sessions)

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
        await self._end(self._settings.stop_grace)

    async def _end(self, grace: timedelta) -> None:
        self._is_stopping = True
        for listener in self._listeners:
            listener.server.close()
            listener.socket.close()
        for session in tuple(self._sessions):
            session.shut_down()
        running = [session.task for session in self._sessions if session.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=grace.total_seconds())
            for task in late:
                task.cancel()
            if late:
                _log.warning("clients cut off in the middle of a message when the server stopped: %d", len(late))
                await asyncio.wait(late)
        await self._unbroken.finish()

    # --- for sessions

    def admit(self, session: Session, address: str) -> bool:
        """Count a client, if there is room for it, and for one more of its neighbourhood."""
        settings, neighbourhood = self._settings, _neighbourhood(address)
        if self._is_stopping or len(self._sessions) >= settings.max_connections:
            return False
        most = settings.max_connections_per_address
        if most is not None and self._neighbours[neighbourhood] >= most:
            return False
        self._sessions[session] = neighbourhood
        self._neighbours[neighbourhood] += 1
        return True

    def leave(self, session: Session) -> None:
        """A client has gone."""
        neighbourhood = self._sessions.pop(session, None)
        if neighbourhood is not None:
            self._neighbours[neighbourhood] -= 1
            if not self._neighbours[neighbourhood]:
                del self._neighbours[neighbourhood]

    def tls_context(self) -> ssl.SSLContext:
        """Return the certificate in use now."""
        return self._context

    async def _open(self, endpoint: Endpoint) -> None:
        try:
            opened = socket.create_server(
                (endpoint.host, endpoint.port),
                family=socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET,
                backlog=_BACKLOG,
                reuse_port=self._settings.reuse_port,
            )
        except OSError as error:
            raise ConfigError(_cannot_listen(self.keys[endpoint.kind], endpoint, error)) from None
        try:
            self._listeners.append(await self._serve(endpoint.kind, opened))
        except BaseException:
            opened.close()
            raise
        host, port, *_ = opened.getsockname()
        self._bound.append(Bound(endpoint.kind, str(host), int(port)))

    async def _serve(self, kind: Kind, opened: socket.socket) -> "_Listener":
        # a server closes the socket it was given; ours stays for the next one
        handshake = self._settings.handshake_timeout.total_seconds() if kind is Kind.TLS else None
        server = await asyncio.get_running_loop().create_server(
            lambda: self._session(kind),
            sock=opened.dup(),
            backlog=_BACKLOG,
            ssl=self._context if kind is Kind.TLS else None,
            ssl_handshake_timeout=handshake,
        )
        return _Listener(kind, opened, server)


def _neighbourhood(address: str) -> str:
    """Whose connections are counted together: an IPv6 client has 2**64 addresses to come from."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))


def _cannot_listen(key: str, endpoint: Endpoint, error: OSError) -> Problem:
    remedy = f"end the program that uses the port (ss -ltnp 'sport = :{endpoint.port}') or choose another"
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "ports below 1024 are for root: give the service CAP_NET_BIND_SERVICE, or choose a higher port"
    elif error.errno == errno.EADDRNOTAVAIL:
        remedy = "that is no address of this machine (ip address): choose one that is"
    reason = f"cannot listen on {endpoint.host} port {endpoint.port}: {os.strerror(error.errno or 0)}"
    return Problem("", None, key, reason, remedy)
