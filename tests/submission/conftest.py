"""A submission listener on loopback, with a store in memory, and a client that says what it is told to the octet."""

import asyncio
import base64
import random
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Self

import pytest
import trustme

from mta.accounts.account import Account, Directory
from mta.accounts.password import hash_password
from mta.clock import SystemClock
from mta.events import Event
from mta.mail.ids import IdSource
from mta.mail.token import Keyring, ReturnPaths
from mta.queue.model import Claimed, Message
from mta.submission.acceptor import Acceptor, AcceptorSettings
from mta.submission.auth import Authenticator, OneUse
from mta.submission.connection import Services
from mta.submission.server import SubmissionServer
from mta.submission.settings import Endpoint, Kind, SubmissionSettings
from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryStore

HOSTNAME = "mail.own.example"
PASSWORD = "correct horse"
SHOP = Account("shop", frozenset({"own.example", "xn--bcher-kva.example"}), hash_password(PASSWORD, salt=bytes(16)))
PLAIN = base64.b64encode(f"\0shop\0{PASSWORD}".encode()).decode()
HEADER = b"From: a@own.example\r\nDate: Sun, 22 Nov 2026 03:00:00 +0000\r\nMessage-ID: <1@own.example>\r\n"


class Hands:
    """Where leased deliveries are handed over: keeps them."""

    def __init__(self) -> None:
        self.places = 0
        self.taken: list[Claimed] = []
        self.wakes = 0

    def room(self) -> int:
        """Return what a test set."""
        return self.places

    def hand_over(self, claimed: Sequence[Claimed]) -> None:
        """Keep them."""
        self.taken.extend(claimed)

    def wake(self) -> None:
        """Count."""
        self.wakes += 1


class Watcher:
    """Keeps the events it is shown."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


@dataclass
class House:
    """What stands behind the listener."""

    store: MemoryStore
    hands: Hands
    watcher: Watcher
    acceptor: Acceptor
    authenticator: Authenticator
    one_use: OneUse
    clock: FakeClock
    return_paths: ReturnPaths
    client_context: ssl.SSLContext
    server: SubmissionServer = field(init=False)

    def port(self, kind: Kind = Kind.PLAIN) -> int:
        """Return where a kind of listener is found."""
        return next(bound.port for bound in self.server.addresses if bound.kind is kind)

    @property
    def messages(self) -> list[Message]:
        """Return what was accepted, in order."""
        return list(self.store.memory.messages.values())

    def octets(self, number: int = 0) -> bytes:
        """Return an accepted message's content."""
        content = self.store.memory.contents[self.messages[number].id]
        return content.header + b"\r\n" + b"".join(content.body)

    async def emptied(self) -> None:
        """Wait until every client's task has ended by itself."""
        async with asyncio.timeout(20):
            while self.server.connections:  # noqa: ASYNC110  # the server tells nobody when a client has gone
                await asyncio.sleep(0.001)

    async def talk(self, kind: Kind = Kind.PLAIN) -> "Talk":
        """Connect, and hear the greeting; under TLS where the listener begins with it."""
        context = self.client_context if kind is Kind.TLS else None
        name = HOSTNAME if context else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port(kind), ssl=context, server_hostname=name)
        talk = Talk(reader, writer)
        await talk.hear()
        return talk

    async def logged_in(self) -> "Talk":
        """Connect, greet and log in."""
        talk = await self.talk()
        await talk.ask("EHLO client.example.net")
        assert await talk.ask(f"AUTH PLAIN {PLAIN}") == "235 2.7.0 Authentication successful"
        return talk


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.greeting = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.writer.write(octets)
        await self.writer.drain()

    async def hear(self) -> str:
        """Return the next reply, its lines joined by a line feed; empty when the server has hung up."""
        lines = []
        while True:
            async with asyncio.timeout(20):
                line = (await self.reader.readline()).decode("ascii")
            assert line.endswith("\r\n") or not line
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def ask(self, command: str) -> str:
        """Send a command; return its reply."""
        await self.send(command.encode("utf-8", "surrogateescape") + b"\r\n")
        return await self.hear()

    async def submit(self, content: bytes, *recipients: str, parameters: str = "") -> str:
        """Send a message whose final dot is in `content`; return the reply to it."""
        assert (await self.ask(f"MAIL FROM:<a@own.example>{parameters}")).startswith("250")
        for recipient in recipients or ("b@example.net",):
            assert (await self.ask(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await self.ask("DATA")).startswith("354")
        await self.send(content)
        return await self.hear()

    async def rest(self) -> bytes:
        """Return all that comes until the server hangs up."""
        async with asyncio.timeout(20):
            return await self.reader.read()


OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOSTNAME, "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def open_house(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, executor: ThreadPoolExecutor
) -> OpenHouse:
    """Return what opens a listener of each kind; settings of the listener may be given by name."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[House]:
        clock = FakeClock()
        store, hands, watcher = MemoryStore(clock), Hands(), Watcher()
        one_use = OneUse(clock, secrets.token_bytes)
        authenticator = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32))
        return_paths = ReturnPaths(Keyring.new(bytes(32), clock.now()))
        ids = IdSource(SystemClock(), store.worker, random.Random(1))
        acceptor = Acceptor(
            AcceptorSettings(HOSTNAME, lambda domain: f"bounces.{domain}"), store, hands, watcher, ids, return_paths
        )
        base = SubmissionSettings(
            HOSTNAME, tuple(Endpoint(kind, "127.0.0.1", 0) for kind in Kind), stop_grace=timedelta(seconds=10)
        )
        chosen = replace(base, **settings)
        services = Services(chosen, authenticator, acceptor, lambda domain: domain == "internal", ids.next)
        house = House(store, hands, watcher, acceptor, authenticator, one_use, clock, return_paths, client_context)
        async with SubmissionServer(services, server_context) as house.server:
            yield house

    return opened


@pytest.fixture
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened
