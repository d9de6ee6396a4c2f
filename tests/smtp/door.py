"""A door of no trade: it takes any path, and keeps the contents that it is brought."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.budget import ReceiveBudget
from mta.smtp.client import Client
from mta.smtp.commands import Reader
from mta.smtp.content import ContentReader
from mta.smtp.dialogue import Dialogue
from mta.smtp.server import DoorServer
from mta.smtp.session import House, Session
from mta.smtp.settings import DoorSettings, Endpoint, Kind
from mta.smtp.unbroken import Unbroken
from tests.smtp.certificates import HOSTNAME
from tests.smtp.talk import Talk
from tests.smtp.tally import Tally


class Shelf:
    """Where contents end, when a test lets them."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.clients: list[Client] = []
        self.asked, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def put(self, octets: bytes, client: Client) -> Reply:
        """Keep one."""
        self.asked.set()
        await self.gate.wait()
        self.contents.append(octets)
        self.clients.append(client)
        return failures.queued(f"q{len(self.contents)}")


class OpenDialogue(Dialogue):
    """Takes any MAIL and any RCPT but `no`."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(HOSTNAME, kind)
        self.mails = self.recipients = 0

    def mail(self, argument: str) -> Reply:
        """MAIL."""
        if self.mails:
            return failures.NESTED_MAIL
        self.mails += 1
        return failures.SENDER_OK

    def rcpt(self, argument: str) -> Reply:
        """RCPT."""
        if not self.mails or argument == "no":
            return failures.NO_SUCH_RECIPIENT
        self.recipients += 1
        return failures.RECIPIENT_OK

    def reset(self) -> None:
        """End the transaction."""
        self.mails = self.recipients = 0

    @property
    def _has_mail(self) -> bool:
        return bool(self.mails)

    @property
    def _has_recipients(self) -> bool:
        return bool(self.recipients)

    def _offers(self) -> Mapping[str, bool]:
        return {"PIPELINING": True, "CHUNKING": True, "STARTTLS": self._offers_tls}


class OpenSession(Session):
    """Speaks with one client of the door."""

    role: ClassVar[str] = "submission"
    line_limits: ClassVar[Mapping[str, int]] = {"MAIL": 600}
    _dialogue: OpenDialogue

    def __init__(self, settings: DoorSettings, kind: Kind, house: House, shelf: Shelf, counts: Tally) -> None:
        super().__init__(settings, kind, house, OpenDialogue(kind), lambda: "c0ffee", counts)
        self._shelf = shelf

    async def _mail(self, argument: str) -> Reply:
        return self._dialogue.mail(argument)

    async def _rcpt(self, argument: str) -> Reply:
        return self._dialogue.rcpt(argument)

    def _content_reader(self, kind: type[Reader]) -> Reader:
        return kind(self._limits.max_message_size)

    async def _take(self, content: ContentReader) -> Reply:
        return await self._shelf.put(b"".join(content.pieces()), self._client())


class OpenDoor(DoorServer):
    """Listens at one endpoint of each kind."""

    keys: ClassVar[Mapping[Kind, str]] = dict.fromkeys(Kind, "test.listen")

    def __init__(self, settings: DoorSettings, context: ssl.SSLContext, budget: ReceiveBudget | None) -> None:
        super().__init__(settings, context, Unbroken(), budget)
        self.settings = settings
        self.shelf = Shelf()
        self.counts = Tally()

    def _session(self, kind: Kind) -> OpenSession:
        return OpenSession(self.settings, kind, self, self.shelf, self.counts)

    def port(self, kind: Kind = Kind.STARTTLS) -> int:
        """Return where a kind of listener is found."""
        return next(bound.port for bound in self.addresses if bound.kind is kind)

    async def connect(self, kind: Kind = Kind.STARTTLS) -> Talk:
        """Connect in clear, and hear nothing yet."""
        return Talk(*await asyncio.open_connection("127.0.0.1", self.port(kind)))

    async def talk(self) -> Talk:
        """Connect, greet, and be greeted."""
        talk = await self.connect()
        assert (await talk.hear()).startswith("220 ")
        assert (await talk.ask("EHLO client.example.net")).startswith("250-")
        return talk

    async def transaction(self) -> Talk:
        """Connect and say all that stands before a content."""
        talk = await self.talk()
        assert (await talk.ask("MAIL FROM:<a@own.example>")).startswith("250")
        assert (await talk.ask("RCPT TO:<b@example.net>")).startswith("250")
        return talk

    async def until(self, clients: int) -> None:
        """Wait until so many clients are connected."""
        async with asyncio.timeout(30):
            while self.connections != clients:  # noqa: ASYNC110  the server tells nobody when a client comes or goes
                await asyncio.sleep(0.001)

    async def until_held(self, octets: int) -> None:
        """Wait until so many octets of content are held."""
        async with asyncio.timeout(30):
            while self.budget.held != octets:  # noqa: ASYNC110  a budget tells nobody when it gives room
                await asyncio.sleep(0.001)


@asynccontextmanager
async def open_door(
    context: ssl.SSLContext, budget: ReceiveBudget | None = None, **settings: Any
) -> AsyncIterator[OpenDoor]:
    """Open a door on loopback; settings may be given by name."""
    endpoints = tuple(Endpoint(kind, "127.0.0.1", 0) for kind in Kind)
    chosen: dict[str, Any] = {"stop_grace": timedelta(seconds=20), **settings}
    async with OpenDoor(DoorSettings(HOSTNAME, endpoints, **chosen), context, budget) as door:
        yield door
