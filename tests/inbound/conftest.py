"""An inbound listener on loopback, with a reader behind it that keeps what it is given."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from mta.inbound.connection import InboundServices
from mta.inbound.returns import ReceivedReturn
from mta.inbound.rules import Doorman
from mta.inbound.server import InboundServer
from mta.inbound.settings import InboundSettings
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.reply import Reply
from mta.mail.token import Keyring, ReturnPaths
from mta.smtp.settings import Endpoint, Kind
from tests.fakes.clock import FakeClock
from tests.smtp.certificates import HOSTNAME, authority, client_context, server_context
from tests.smtp.talk import Talk
from tests.smtp.tally import Tally

__all__ = ["authority", "client_context", "server_context"]

DELIVERY = "01abcdefghjkmnpq"
DOMAIN = "bounces.own.example"
FEEDBACK = Mailbox("fbl", DOMAIN)


class Desk:
    """Takes in what comes, when a test lets it."""

    def __init__(self) -> None:
        self.received: list[ReceivedReturn] = []
        self.failure: Exception | None = None
        self.asked, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def take(self, received: ReceivedReturn) -> Reply:
        """Keep it."""
        self.asked.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.received.append(received)
        return failures.queued(f"r{len(self.received)}")


@dataclass
class House:
    """What stands behind the listener."""

    desk: Desk
    clock: FakeClock
    counts: Tally
    doorman: Doorman
    return_paths: ReturnPaths
    client_context: ssl.SSLContext
    server: InboundServer = field(init=False)

    @property
    def return_path(self) -> str:
        """Return a delivery's return path."""
        return f"{self.return_paths.make(DELIVERY)}@{DOMAIN}"

    @property
    def port(self) -> int:
        """Return where it listens."""
        return self.server.addresses[0].port

    async def talk(self) -> Talk:
        """Connect, and hear the greeting."""
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.port))
        await talk.hear()
        return talk

    async def greeted(self) -> Talk:
        """Connect and say EHLO."""
        talk = await self.talk()
        assert (await talk.ask("EHLO mx.example.net")).startswith("250-")
        return talk

    async def bring(self, talk: Talk, content: bytes, *recipients: str, sender: str = "") -> str:
        """Send a content whose final dot is in it; return the reply to that."""
        assert (await talk.ask(f"MAIL FROM:<{sender}>")).startswith("250")
        for recipient in recipients or (self.return_path,):
            assert (await talk.ask(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await talk.ask("DATA")).startswith("354")
        await talk.send(content)
        return await talk.hear()

    async def emptied(self) -> None:
        """Wait until every client's task has ended by itself."""
        async with asyncio.timeout(20):
            while self.server.connections:  # noqa: ASYNC110  # the server tells nobody when a client has gone
                await asyncio.sleep(0.001)


OpenHouse = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def open_house(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> OpenHouse:
    """Return what opens a listener; its settings may be given by name."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[House]:
        clock = FakeClock()
        return_paths = ReturnPaths(Keyring.new(bytes(32), clock.now()))
        doorman = Doorman(return_paths, lambda: frozenset({DOMAIN, "b.other.example"}), FEEDBACK, HOSTNAME)
        house = House(Desk(), clock, Tally(), doorman, return_paths, client_context)
        base = InboundSettings(HOSTNAME, (Endpoint(Kind.STARTTLS, "127.0.0.1", 0),), stop_grace=timedelta(seconds=10))
        chosen = replace(base, **settings)
        services = InboundServices(chosen, doorman, house.desk, clock, lambda: "c0ffee", house.counts)
        async with InboundServer(services, server_context) as house.server:
            yield house

    return opened


@pytest.fixture
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened
