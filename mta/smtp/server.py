"""A door's listeners: sockets opened, clients counted, and the order in which everything ends."""

import asyncio
import logging
import socket
import ssl
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from types import TracebackType
from typing import ClassVar, Self

from mta.smtp.budget import ReceiveBudget
from mta.smtp.listening import BACKLOG, opened
from mta.smtp.outbox import Outbox
from mta.smtp.session import Session
from mta.smtp.settings import DoorSettings, Endpoint, Kind
from mta.smtp.unbroken import Unbroken

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bound:
    """An address that is listened at."""

    kind: Kind
    host: str
    port: int


class DoorServer(ABC):
    """Listens while it is entered: `async with` a subclass of it, which makes the sessions."""

    keys: ClassVar[Mapping[Kind, str]]
    """Where in the configuration the endpoints of each kind stand."""

    def __init__(
        self,
        settings: DoorSettings,
        context: ssl.SSLContext,
        unbroken: Unbroken,
        budget: ReceiveBudget | None = None,
        handed: Sequence[socket.socket] | None = None,
    ) -> None:
        """`unbroken`: what the sessions have begun and must not be left undone; `budget`: room for their contents;
        `handed`: sockets that listen already, one for each endpoint, which are closed here.
        """
        self._settings = settings
        self._handed = handed
        self._context = context
        self._unbroken = unbroken
        self.budget = budget or ReceiveBudget()
        """The room that all contents share."""
        self.outbox = Outbox()
        """Through which all replies go."""
        self._servers: list[asyncio.Server] = []
        self._bound: list[Bound] = []
        self._sessions: dict[Session, str] = {}
        self._neighbours: Counter[str] = Counter()
        self._is_stopping = False

    @abstractmethod
    def _session(self, kind: Kind) -> Session:
        """Return what speaks with a client that comes now."""

    async def __aenter__(self) -> Self:
        try:
            for endpoint, listener in self._listeners():
                await self._open(endpoint, listener)
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

    async def stop(self) -> None:
        """Take no more clients, tell the idle ones, finish what is being received, up to the grace. Can be repeated."""
        await self._end(self._settings.stop_grace)

    async def _end(self, grace: timedelta) -> None:
        self._is_stopping = True
        for server in self._servers:
            server.close()
        for session in tuple(self._sessions):
            session.shut_down()
        running = [session.task for session in self._sessions if session.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=grace.total_seconds())
            cut = [task for task in late if not self._unbroken.holds(task)]
            for task in cut:
                task.cancel()
            if cut:
                _log.warning("clients cut off in the middle of a message when the server stopped: %d", len(cut))
            await self._unbroken.finish()
            # who was told of a message just now, and does not read it, is not waited for
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    # --- for sessions

    def admit(self, session: Session, address: str | None) -> bool:
        """Count a client, if there is room for it, and for one more of its neighbourhood."""
        settings = self._settings
        if session not in self._sessions and (self._is_stopping or len(self._sessions) >= settings.max_connections):
            return False
        neighbourhood = "" if address is None else _neighbourhood(address)
        most = settings.max_connections_per_address
        if neighbourhood and most is not None and self._neighbours[neighbourhood] >= most:
            return False
        self._sessions[session] = neighbourhood
        if neighbourhood:
            self._neighbours[neighbourhood] += 1
        return True

    def leave(self, session: Session) -> None:
        """A client has gone."""
        neighbourhood = self._sessions.pop(session, "")
        if neighbourhood:
            self._neighbours[neighbourhood] -= 1
            if not self._neighbours[neighbourhood]:
                del self._neighbours[neighbourhood]

    def tls_context(self) -> ssl.SSLContext:
        """Return the certificate in use now."""
        return self._context

    def _listeners(self) -> Iterator[tuple[Endpoint, socket.socket]]:
        endpoints = self._settings.endpoints
        if self._handed is not None:
            yield from zip(endpoints, self._handed, strict=True)
            return
        for endpoint in endpoints:
            yield endpoint, opened(endpoint, self.keys[endpoint.kind])

    async def _open(self, endpoint: Endpoint, listener: socket.socket) -> None:
        try:
            # TLS is begun by the session, so that its handshakes are counted and limited like all else
            server = await asyncio.get_running_loop().create_server(
                lambda: self._session(endpoint.kind), sock=listener, backlog=BACKLOG
            )
        except BaseException:
            listener.close()
            raise
        self._servers.append(server)
        host, port, *_ = listener.getsockname()
        self._bound.append(Bound(endpoint.kind, str(host), int(port)))


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
