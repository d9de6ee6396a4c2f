"""A receiving host that asks at each step whether to go on: it can be made to wait, or to hang up, anywhere."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from mta.demo.listener import listening

_ARGUMENT = re.compile(r"(?i:FROM|TO):<([^>]*)>")


class Step(StrEnum):
    """Where a host may turn away; in each but the last two before its answer."""

    GREETING = "greeting"
    EHLO = "ehlo"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    """Some of the content has come."""
    DOT = "dot"
    """All of it has come and was taken."""
    AFTER = "after"
    """The answer to the final dot was sent."""


Turn = Callable[[Step, str], Awaitable[bool]]
"""Whether to go on, given the recipient if there is one. False hangs up."""


async def go_on(step: Step, recipient: str) -> bool:
    """Take everything."""
    return True


@dataclass
class Sink:
    """Takes mail, and counts it by recipient."""

    turn: Turn = go_on
    pipelining: bool = True
    port: int = 0
    connections: int = 0
    open: int = 0
    """Connections that have not ended."""
    attempts: Counter[str] = field(default_factory=Counter)
    """How often each recipient was named."""
    taken: Counter[str] = field(default_factory=Counter)

    @property
    def relay(self) -> str:
        """A route's value."""
        return f"smtp://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Sink"]:
        """Listen while this is entered."""
        async with listening(self._serve, "127.0.0.1", 0) as self.port:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self._speak(reader, writer)
        finally:
            self.open -= 1

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipient = ""
        if not await self.turn(Step.GREETING, recipient):
            return
        writer.write(b"220 sink.example\r\n")
        while line := await reader.readline():
            verb, _, argument = line.decode().strip().partition(" ")
            match verb.upper():
                case "EHLO":
                    step, reply = Step.EHLO, "250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME"
                    reply = reply if self.pipelining else reply.replace("250-PIPELINING\r\n", "")
                case "MAIL":
                    step, reply = Step.MAIL, "250 2.1.0 Ok"
                case "RCPT":
                    step, reply = Step.RCPT, "250 2.1.5 Ok"
                    found = _ARGUMENT.match(argument)
                    assert found is not None, line
                    recipient = found[1]
                    self.attempts[recipient] += 1
                case "DATA":
                    if not await self._content(reader, writer, recipient):
                        return
                    continue
                case "QUIT":
                    writer.write(b"221 2.0.0 Bye\r\n")
                    return
                case _:
                    writer.write(b"250 2.0.0 Ok\r\n")
                    continue
            if not await self.turn(step, recipient):
                return
            writer.write(f"{reply}\r\n".encode())
            await writer.drain()

    async def _content(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recipient: str) -> bool:
        if not await self.turn(Step.DATA, recipient):
            return False
        writer.write(b"354 Go on\r\n")
        await reader.readline()
        if not await self.turn(Step.CONTENT, recipient):
            return False
        await reader.readuntil(b"\r\n.\r\n")
        self.taken[recipient] += 1
        if not await self.turn(Step.DOT, recipient):
            return False
        writer.write(b"250 2.0.0 Ok\r\n")
        await writer.drain()
        return await self.turn(Step.AFTER, recipient)


@dataclass
class Patience:
    """Lets a host wait at a step, for some recipients or all, until it is over."""

    step: Step
    prefix: str = ""
    """Of the recipients that have to wait."""
    at_most: int | None = None
    """How many have to; None: all of them."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    """How many have waited so far."""

    async def __call__(self, step: Step, recipient: str) -> bool:
        full = self.at_most is not None and self.waiting >= self.at_most
        if step is self.step and recipient.startswith(self.prefix) and not full:
            self.waiting += 1
            await self.over.wait()
        return True


def hanging_up(at: Step, times: int = 1) -> Turn:
    """Return the turn of a host that hangs up at a step some times, and then takes everything."""
    left = times

    async def turn(step: Step, recipient: str) -> bool:
        nonlocal left
        if step is not at or not left:
            return True
        left -= 1
        return False

    return turn
