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
from typing import Any

import pytest

from mta.accounts.account import Account, Directory
from mta.accounts.password import hash_password
from mta.accounts.standing import Standing
from mta.accounts.standing import State as Suspension
from mta.clock import SystemClock
from mta.events import Event
from mta.mail.address import Mailbox
from mta.mail.ids import IdSource
from mta.mail.token import Keyring, ReturnPaths
from mta.queue.model import Claimed, Message
from mta.reputation.suppression import Cause, Origin, Suppression
from mta.smtp.settings import Endpoint, Kind
from mta.submission.acceptor import Acceptor, AcceptorSettings
from mta.submission.auth import Authenticator, AuthSettings, OneUse
from mta.submission.connection import Services
from mta.submission.lockout import LockoutSettings
from mta.submission.server import SubmissionServer
from mta.submission.settings import SubmissionSettings
from tests.fakes.clock import START, FakeClock
from tests.fakes.memory_store import MemoryStore
from tests.smtp import talk
from tests.smtp.certificates import HOSTNAME, authority, client_context, server_context
from tests.smtp.tally import Tally

__all__ = ["HOSTNAME", "authority", "client_context", "server_context"]

PASSWORD = "correct horse"
SHOP = Account("shop", frozenset({"own.example", "xn--bcher-kva.example"}), hash_password(PASSWORD, salt=bytes(16)))
PLAIN = base64.b64encode(f"\0shop\0{PASSWORD}".encode()).decode()
HEADER = b"From: a@own.example\r\nDate: Sun, 22 Nov 2026 03:00:00 +0000\r\nMessage-ID: <1@own.example>\r\n"


class Hands:
    """Where leased deliveries are handed over: keeps them."""

    def __init__(self) -> None:
        self.room = 0
        self.taken: list[Claimed] = []
        self.wakes = 0
        self.kept: dict[tuple[str, str], str] = {}
        """Why mail of an account to a domain is held."""

    def places(self, message: Message, domains: Sequence[str], promised: int = 0) -> int:
        """Return what a test set."""
        return max(0, min(len(domains), self.room - promised))

    def hand_over(self, claimed: Sequence[Claimed]) -> None:
        """Keep them."""
        self.taken.extend(claimed)

    def wake(self, message: Message | None = None) -> None:
        """Count."""
        self.wakes += 1


class Watcher:
    """Keeps the events it is shown."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


class Ledger:
    """A gate whose lists a test writes."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], Suppression] = {}
        self.standings: dict[tuple[str, str], Standing] = {}
        self.failure: Exception | None = None
        self.asked: list[str] = []

    async def suppressed(self, account: str, address: Mailbox) -> Suppression | None:
        """Return what a test wrote, after others had a turn."""
        self.asked.append(str(address))
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return self.entries.get((account, str(address)))

    def suspended(self, account: str, stream: str) -> Standing | None:
        """Return what a test wrote; the account as a whole comes first."""
        return self.standings.get((account, "")) or self.standings.get((account, stream))

    def suppress(self, address: str) -> Suppression:
        """Put an address on the shop's list."""
        entry = Suppression(
            "shop", Mailbox.parse(address), Cause.HARD_BOUNCE, Origin.REPORT, START, detail="550 5.1.1 no such user"
        )
        self.entries[("shop", address)] = entry
        return entry

    def suspend(self, stream: str = "") -> None:
        """Suspend a stream of the shop, or the shop."""
        reason = "hard bounces are 10.0% (100 of 1000) in the last 24 hours, the limit is 10.0%"
        self.standings[("shop", stream)] = Standing("shop", stream, Suspension.SUSPENDED, reason)


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
    gate: Ledger = field(default_factory=Ledger)
    counts: Tally = field(default_factory=Tally)
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
        client = Talk(reader, writer)
        await client.hear()
        return client

    async def logged_in(self) -> "Talk":
        """Connect, greet and log in."""
        client = await self.talk()
        await client.ask("EHLO client.example.net")
        assert await client.ask(f"AUTH PLAIN {PLAIN}") == "235 2.7.0 Authentication successful"
        return client


class Talk(talk.Talk):
    """One connection of a client that submits."""

    async def log_in(self, login: str, password: str) -> None:
        """Log in as somebody, by LOGIN."""
        await self.ask("AUTH LOGIN")
        for text in (login, password):
            reply = await self.ask(base64.b64encode(text.encode()).decode())
        assert reply.startswith("235")

    async def submit(self, content: bytes, *recipients: str, parameters: str = "") -> str:
        """Send a message whose final dot is in `content`; return the reply to it."""
        assert (await self.ask(f"MAIL FROM:<a@own.example>{parameters}")).startswith("250")
        for recipient in recipients or ("b@example.net",):
            assert (await self.ask(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await self.ask("DATA")).startswith("354")
        await self.send(content)
        return await self.hear()


OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


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
        # nobody waits in tests: the delays of refusals are tested where they are made
        auth = AuthSettings(lockout=LockoutSettings(delay_max=timedelta()))
        authenticator = Authenticator(Directory([SHOP]), one_use, executor, clock, bytes(32), auth)
        return_paths = ReturnPaths(Keyring.new(bytes(32), clock.now()))
        ids = IdSource(SystemClock(), store.worker, random.Random(1))
        acceptor = Acceptor(
            AcceptorSettings(HOSTNAME, lambda domain: f"bounces.{domain}"),
            store,
            hands,
            watcher,
            ids,
            return_paths,
            lambda domain, account: hands.kept.get((domain, account)),
        )
        base = SubmissionSettings(
            HOSTNAME, tuple(Endpoint(kind, "127.0.0.1", 0) for kind in Kind), stop_grace=timedelta(seconds=10)
        )
        chosen = replace(base, **settings)
        house = House(store, hands, watcher, acceptor, authenticator, one_use, clock, return_paths, client_context)
        services = Services(
            chosen,
            authenticator,
            acceptor,
            lambda domain: domain == "internal",
            ids.next,
            house.counts,
            house.gate,
            store.allowances,
        )
        async with SubmissionServer(services, server_context) as house.server:
            yield house

    return opened


@pytest.fixture
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened
