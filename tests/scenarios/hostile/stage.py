"""Where hostile dialogues are played: a server that holds all mail, a socket, and a look into the queue afterwards."""

import asyncio
import base64
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Self

from mta.cli.init import ACCOUNT
from mta.clock import SystemClock
from mta.control.client import Client
from mta.storage.reading import Reader
from mta.storage.views import Selector
from tests.scenarios.hostile.case import GREETING, LOGIN, OTHER, PASSWORD, PLAIN, WRONG, Act, Case, Door, End, Say, Step
from tests.scenarios.house import House, open_house

PATIENCE = 30.0
"""Seconds that a reply may take, or the end of a connection."""
# all that is taken stays where it is counted; nobody is made to wait for a password that others got wrong
_SUBMISSION = """
[submission]
max_message_size = 400000
max_recipients = 100
lockout = { delay_max = "0s" }
"""
_ROUTES = """
[[route]]
domain = "example.net"
hold = true
[[route]]
domain = "example.org"
hold = true
"""
_MANY = 100_000
_CUT = struct.pack("ii", 1, 0)


@dataclass
class Line:
    """One connection of a hostile client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, address: tuple[str, int], source: str = "127.0.0.1") -> Self:
        """Connect from an address of loopback."""
        return cls(*await asyncio.open_connection(*address, local_addr=(source, 0), limit=1024 * 1024))

    async def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.writer.write(octets)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def hear(self) -> str:
        """Return the next reply, its lines joined by a line feed; empty when the server has hung up."""
        lines: list[str] = []
        while True:
            async with asyncio.timeout(PATIENCE):
                line = (await self.reader.readline()).decode("ascii")
            assert line.endswith("\r\n") or not line, line
            lines.append(line.removesuffix("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def rest(self) -> bytes:
        """Return all that comes until the server hangs up."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read()
        except ConnectionResetError:
            return b""  # it hung up before it had read all that was sent

    async def secure(self, context: ssl.SSLContext) -> None:
        """Begin TLS."""
        async with asyncio.timeout(PATIENCE):
            await self.writer.start_tls(context)

    def cut(self) -> None:
        """End the connection with a reset."""
        if not self.writer.is_closing():
            self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _CUT)
        self.writer.transport.abort()

    async def close(self) -> None:
        """End the connection."""
        self.writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()
        except (OSError, ssl.SSLError):
            pass  # the other end was faster, or has ended TLS in its own way


class Stage:
    """A house in which dialogues are played, one after another."""

    def __init__(self, house: House, reader: Reader) -> None:
        self.house = house
        self._reader = reader
        self._control = Client(house.folder / "data" / "control.sock")
        self._context = house.context()
        self._known: set[str] = set()
        self._words = _words(house.password)

    async def play(self, case: Case, source: str) -> Counter[str]:
        """Play a dialogue from a client's address; return the recipients of the deliveries that it left behind.

        Raises:
            AssertionError: a reply was another, one was missing or one too many.
        """
        # one that failed may have left something behind
        await self.all_gone()
        await self.added()
        line = await Line.open(self.house.server.address(case.door), source)
        try:
            for step in case.steps if case.door is Door.TLS else (GREETING, *case.steps):
                await self.do(line, step)
            await _part(line, case.end)
        finally:
            await line.close()
        await self.all_gone()
        return await self.added()

    async def added(self) -> Counter[str]:
        """Return the recipients of the deliveries that are new since this was asked last."""
        rows = await self._reader.select(Selector(), _MANY)
        new = Counter(row.recipient for row in rows if row.id not in self._known)
        self._known.update(row.id for row in rows)
        return new

    async def do(self, line: Line, step: Step) -> None:
        """Take a step of a dialogue, and hear the replies to it."""
        match step:
            case Say(octets, replies):
                if octets:
                    await line.send(self._filled_in(octets))
                heard = [await line.hear() for _ in replies]
                assert [reply[: len(wanted)] for reply, wanted in zip(heard, replies, strict=True)] == list(replies), (
                    heard
                )
            case Act.HANDSHAKE:
                await line.secure(self._context)
            case Act.HALF_CLOSE:
                line.writer.write_eof()
            case Act.CLOSE:
                line.writer.close()
            case Act.RESET:
                line.cut()

    def _filled_in(self, octets: bytes) -> bytes:
        for word, meaning in self._words.items():
            octets = octets.replace(word.encode(), meaning)
        return octets

    async def clients(self) -> int:
        """Return how many the server has."""
        return int((await asyncio.to_thread(self._control.one, "status"))["clients"])

    async def all_gone(self) -> None:
        """Wait until the server has done with its clients: what they left behind is in the queue then, or never."""
        async with asyncio.timeout(PATIENCE):
            while await self.clients():  # noqa: ASYNC110  it is another process
                await asyncio.sleep(0.005)


async def _part(line: Line, end: End) -> None:
    match end:
        case End.IN_STEP:
            await line.send(b"NOOP\r\nQUIT\r\n")
            assert await line.rest() == b"250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"
        case End.CLOSED:
            assert await line.rest() == b""
        case End.LEFT:
            pass


def _words(password: str) -> dict[str, bytes]:
    account, secret = ACCOUNT.encode(), password.encode()
    answers = {
        PLAIN: b"\0" + account + b"\0" + secret,
        WRONG: b"\0" + account + b"\0" + secret[::-1],
        OTHER: b"root\0" + account + b"\0" + secret,
        LOGIN: account,
        PASSWORD: secret,
    }
    return {word: base64.b64encode(answer) for word, answer in answers.items()}


@asynccontextmanager
async def open_stage(folder: Path, limits: str = "") -> AsyncIterator[Stage]:
    """Start a server that keeps what it takes. `limits`: more keys of `[submission]`."""
    async with (
        open_house(folder, more=f"{_SUBMISSION}{limits}{_ROUTES}") as house,
        Reader.open(str(house.folder / "data" / "queue.db"), SystemClock()) as reader,
    ):
        yield Stage(house, reader)
