"""An SMTP server on loopback which receives what it is sent, answers as it is told, and remembers all of it.

It keeps the content as the octets that came and delivers nowhere. How it speaks is in the dialogue.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from mta.demo.dialogue import Dialogue, Extension, Received, Terms
from mta.demo.listener import listening
from mta.demo.script import Behaviour, Script
from mta.demo.wire import Wire

__all__ = ["Behaviour", "Extension", "Received", "Receiver"]


class Receiver:
    """`async with Receiver() as sink:` listens on `host` and `port` (0: a free one, read it from `port`).

    `messages` are the accepted messages, `commands` all command lines of all connections, `connections` their number.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        hostname: str = "mx.example.net",
        tls: ssl.SSLContext | None = None,
        extensions: AbstractSet[Extension] = frozenset(Extension),
        size_limit: int = 26_214_400,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.host, self.port = host, port
        self.messages: list[Received] = []
        self.commands: list[str] = []
        self.connections = 0
        self._terms = Terms(hostname, frozenset(extensions), tls, size_limit, clock)
        self._script = Script(clock)
        self._arrival = asyncio.Condition()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.port = await self._stack.enter_async_context(listening(self._serve, self.host, self.port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def address(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def recipients(self) -> list[list[str]]:
        """The recipients of each accepted message, in order."""
        return [list(message.recipients) for message in self.messages]

    def answer(self, verb: str, about: str | None, reply: str | bytes, times: int | None = None) -> None:
        """Answer with `reply` (text, octets to send as they are, or a Behaviour) instead of the usual reply.

        `verb` is a command, GREETING, or DOT for the end of the content. `about` restricts it: to a recipient (RCPT;
        DATA and DOT, if it is among them), a reverse-path (MAIL), or the command's argument; "@domain" means all of
        a domain; None anything. Answers apply in the order they were given, `times` times each; one without `times`
        takes the place of all earlier ones for the same verb and text. In a text "\\n" makes a multi-line reply, the
        code is put on each line. A command out of order or with bad syntax gets its error and uses nothing up.
        After a 421 the connection is closed (RFC 5321 §3.8). ValueError for an unknown verb or a text without a code.
        """
        self._script.add(verb, about, reply, times)

    def greylist(self, attempts: int = 1, seconds: float = 0.0) -> None:
        """Defer each (reverse-path, recipient) for its first `attempts` RCPTs and until `seconds` after the first."""
        self._script.greylist(attempts, seconds)

    async def wait_for(self, count: int, timeout: float = 10.0) -> list[Received]:
        """Wait until `count` messages have come, return all there are; TimeoutError after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self._arrival:
                await self._arrival.wait_for(lambda: len(self.messages) >= count)
        except TimeoutError:
            last = "; ".join(self.commands[-5:]) or "none"
            got = f"{self.address}: {len(self.messages)} of {count} messages after {timeout} s"
            raise TimeoutError(f"{got}, {self.connections} connections, last commands: {last}") from None
        return list(self.messages)

    async def keep(self, message: Received) -> None:
        """Take in an accepted message and wake those who wait for it."""
        async with self._arrival:
            self.messages.append(message)
            self._arrival.notify_all()

    def note(self, command: str) -> None:
        """Remember a command line."""
        self.commands.append(command)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await Dialogue(self._terms, self._script, Wire(reader, writer), self.connections, self).run()
