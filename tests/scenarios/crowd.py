"""Clients that submit one message after another and remember what they were promised; and what came of it."""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiosmtplib

from mta.cli.init import ACCOUNT
from mta.demo.dialogue import Received
from tests.scenarios.house import SENDER, House

PATIENCE = 60.0
"""Seconds that one reply may take, or the arrival of all that was acknowledged."""
RECIPIENT = "a@example.net"
_MESSAGE_ID = re.compile(rb"^Message-ID: <([^@>]+)@", re.MULTILINE)


@dataclass
class Crowd:
    """Submits over plain connections to one server after another; a message is never submitted twice."""

    house: House
    clients: int = 8
    logs_in: bool = True
    """Else the server has to trust their network."""
    acknowledged: set[str] = field(default_factory=set)
    """Message-IDs that were answered 250."""
    unanswered: set[str] = field(default_factory=set)
    """Those whose content was sent, at least in part, and which were neither accepted nor refused."""
    refused: Counter[int] = field(default_factory=Counter)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def submit(self, count: int) -> None:
        """Submit `count` messages; return when all were answered, or when the server went away."""
        left = iter(range(count))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.clients):
                tasks.create_task(self._one(left))

    @asynccontextmanager
    async def pressing(self) -> AsyncIterator[None]:
        """Submit without end while this is entered; whose server goes away, or refuses, comes again."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.clients):
                tasks.create_task(self._press(over))
            try:
                yield
            finally:
                # none is cancelled: the answer to what it has sent may be on its way
                over.set()

    async def missing(self) -> set[str]:
        """Wait until the queue is empty and what was acknowledged is at the sink; return what did not come."""
        try:
            async with asyncio.timeout(PATIENCE):
                while self._not_there() or self.house.open_deliveries():  # noqa: ASYNC110  nothing tells of the last one
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pass  # whoever asks will say so
        return self._not_there()

    def _not_there(self) -> set[str]:
        return self.acknowledged - arrivals(self.house.sink.messages).keys()

    async def _press(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._one(itertools.takewhile(lambda _: not over.is_set(), itertools.count()))
            await asyncio.sleep(0.05)

    async def _one(self, left: Iterable[int]) -> None:
        host, port = self.house.server.address("submission_plain")
        client = aiosmtplib.SMTP(hostname=host, port=port, timeout=PATIENCE, start_tls=False)
        try:
            await client.connect()
            if self.logs_in:
                await client.login(ACCOUNT, self.house.password)
            for _ in left:
                await self._message(client, f"m{next(self._numbers)}")
        except (aiosmtplib.SMTPException, OSError):
            pass  # the server has gone, which is what the scenario is about; what was promised is written down
        finally:
            client.close()

    async def _message(self, client: aiosmtplib.SMTP, name: str) -> None:
        fields = f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: {name}\r\nMessage-ID: <{name}@example.com>\r\n"
        await client.mail(SENDER)
        await client.rcpt(RECIPIENT)
        self.unanswered.add(name)
        try:
            await client.data(f"{fields}\r\nGood morning.\r\n".encode())
        except aiosmtplib.SMTPDataError as refusal:
            self.unanswered.discard(name)
            self.refused[refusal.code] += 1
            raise
        self.unanswered.discard(name)
        self.acknowledged.add(name)


def name_of(received: Received) -> str:
    """Return the name that a crowd gave a message."""
    found = _MESSAGE_ID.search(received.content)
    assert found is not None, received.content[:500]
    return found[1].decode()


def arrivals(messages: Sequence[Received]) -> dict[str, list[float]]:
    """Return when each message arrived, by name."""
    times: dict[str, list[float]] = {}
    for received in messages:
        times.setdefault(name_of(received), []).append(received.received_at)
    return times
