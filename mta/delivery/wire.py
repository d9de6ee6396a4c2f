"""aiosmtplib's protocol with what a sending server needs on top: commands in flight together, replies matched to them
in order and bounded, what is said out of turn kept (a 421) or punished, content written with flow control.

What is said, and what replies mean, is left to `session`.
"""

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, cast

from aiosmtplib import SMTP, SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol
from aiosmtplib.response import SMTPResponse
from aiosmtplib.typing import Default

from mta.delivery.limits import Timeouts
from mta.delivery.verdict import Stage
from mta.smtp.alarm import Alarm

MAX_LINE = 2048
"""Octets of one reply line; RFC 5321 §4.5.3.1.5 says 512, some hosts write whole paragraphs."""
MAX_LINES = 100

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_READY = 220
_DONE = 250


class Garbled(Exception):
    """What the host sends is not SMTP, or too much of it."""


class Injected(Garbled):
    """Octets stood behind the reply to STARTTLS: somebody wants them read as if they came through TLS."""


class Wire(SMTPProtocol):
    """One connection's octets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[SMTPProtocol], None]) -> None:
        super().__init__(loop=loop, connection_lost_callback=lost)
        self._expected = 1  # the greeting
        self._code = 0
        self._lines: list[bytes] = []
        self._replies: deque[SMTPResponse] = deque()
        self._fault: Garbled | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._alarm = Alarm(loop, self._give_up)
        self.out_of_turn: SMTPResponse | None = None
        """What the host said though nothing was asked: a 421 while idle, a refusal in the midst of the content."""

    @property
    def is_quiet(self) -> bool:
        """Whether the connection stands, and everything the host said was asked for and heard."""
        return self.is_connected and not self._has_surplus and not self._expected

    @property
    def _has_surplus(self) -> bool:
        """Whether the host said more than was read."""
        return bool(self._replies or self._lines or self._buffer or self.out_of_turn or self._fault)

    @property
    def is_awaiting(self) -> bool:
        """Whether the host still owes a reply."""
        return self._expected > 0

    @property
    def has_spoken(self) -> bool:
        """Whether there is a reply that was not read yet."""
        return bool(self._replies)

    def send(self, *commands: bytes) -> None:
        """Write commands in one flight (RFC 2920 §3.1); each will have its reply.

        Raises:
            ValueError: a command holds a control character.
        """
        self.send_with(b"", *commands)

    def send_with(self, content: bytes, *commands: bytes) -> None:
        """As `send`, with octets behind the last command that it announced (RFC 3030 §4.2)."""
        if any(_CONTROL.search(command) for command in commands):
            raise ValueError("a command holds a control character")
        self._expect(len(commands), b"".join([*(command + b"\r\n" for command in commands), content]))

    def send_dot(self, last: bytes = b"") -> None:
        """End the content, which ended in CRLF (RFC 5321 §4.1.1.4), with what is left of it in the same write."""
        self._expect(1, last + b".\r\n")

    def expect(self, count: int) -> None:
        """The last octets of the content, which follow, are answered by so many replies more (RFC 2033 §4.2)."""
        self._expected += count

    def write(self, data: bytes) -> None:
        """Write octets. What the host did wrong before explains more than that the connection is closed for it."""
        self.check()
        super().write(data)

    def check(self) -> None:
        """Raise Garbled if that is why the connection was closed."""
        if self._fault is not None:
            raise self._fault

    async def send_block(self, block: bytes) -> None:
        """Write content and wait until most of it is gone."""
        self.write(block)
        await self._drain_helper()

    def abort(self) -> None:
        """Close at once, whatever is still to be written."""
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()

    async def execute_command(self, *args: bytes, timeout: float | None = None) -> SMTPResponse:
        """Send one command and return its reply."""
        self.send(b" ".join(args))
        return await self.read_response(timeout)

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:
        """Return the next reply in order; what came before a loss of the connection is still read."""
        return await self.next_reply(timeout)

    def reply_at_hand(self) -> SMTPResponse | None:
        """Return the next reply in order if it has come already."""
        return self._replies.popleft() if self._replies else None

    async def next_reply(self, within: float | None = None) -> SMTPResponse:
        """Return the next reply in order. Raises TimeoutError when it does not come in so many seconds."""
        if self._replies:
            return self._replies.popleft()
        if within is not None:
            self._alarm.set(within)
        try:
            while not self._replies:
                self.check()
                if self.transport is None:
                    raise SMTPServerDisconnected(str(self._error or "")) from self._error
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            self._alarm.clear()
        return self._replies.popleft()

    async def start_tls(
        self, tls_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> SMTPResponse:
        """Ask for TLS and shake hands (RFC 3207 §4)."""
        reply = await self.execute_command(b"STARTTLS", timeout=timeout)
        if reply.code != _READY:
            raise SMTPResponseException(reply.code, reply.message)
        # also when it has closed since, or said so much that we did: a loss leads to plaintext, this must not
        if self._has_surplus:
            raise Injected("octets behind the reply to STARTTLS")
        if self.transport is None or self.transport.is_closing():
            raise SMTPServerDisconnected(str(self._error or ""))
        transport = await self._loop.start_tls(
            cast(asyncio.WriteTransport, self.transport), self, tls_context, server_hostname=server_hostname
        )
        if transport is None:
            raise SMTPServerDisconnected("")
        self.transport = transport
        self._over_ssl = True
        return reply

    def data_received(self, data: bytes) -> None:
        """Cut what came into replies."""
        if self._fault is not None:
            return
        self._buffer += data
        try:
            self._cut()
        except Garbled as fault:
            self._fault = fault
            self._buffer.clear()
            self.abort()
        self._wake()

    def eof_received(self) -> bool:
        """Nothing more will come: close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        self._error = exc
        self._alarm.close()
        super().connection_lost(exc)
        self._wake()

    def _expect(self, count: int, octets: bytes) -> None:
        self.write(octets)
        self._expected += count

    def _give_up(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _cut(self) -> None:
        start = 0
        while (end := self._buffer.find(b"\n", start)) >= 0:
            self._take(bytes(self._buffer[start:end]).removesuffix(b"\r"))
            start = end + 1
        del self._buffer[:start]
        if len(self._buffer) > MAX_LINE:
            raise Garbled(f"a reply line of more than {MAX_LINE} octets")

    def _take(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            raise Garbled(f"a reply line of more than {MAX_LINE} octets")
        match = _LINE.fullmatch(line)
        if match is None:
            raise Garbled(f"not a reply: {line[:80].decode('utf-8', 'replace')}")
        self._lines.append((match[3] or b"").strip())
        if len(self._lines) > MAX_LINES:
            raise Garbled(f"a reply of more than {MAX_LINES} lines")
        if match[2] == b"-":
            return
        text = b"\n".join(self._lines).decode("utf-8", "replace")
        self._lines = []
        self._hear(SMTPResponse(int(match[1]), text))

    def _hear(self, reply: SMTPResponse) -> None:
        if self._expected:
            self._expected -= 1
            self._replies.append(reply)
        elif self.out_of_turn is None:
            self.out_of_turn = reply
        else:
            raise Garbled("replies that nobody asked for")


@dataclass(frozen=True, slots=True)
class ImplicitTls:
    """TLS from the first octet (RFC 8314 §3.3)."""

    context: ssl.SSLContext
    name: str


class Client(SMTP):
    """aiosmtplib's client over a `Wire` and a connected socket, with a time limit of its own for the greeting."""

    def __init__(self, connected: socket.socket, ehlo_name: str, limits: Timeouts) -> None:
        """`connected` is this object's from here on."""
        # the place is never used, since the socket stands
        super().__init__(
            hostname="localhost", port=25, local_hostname=ehlo_name, timeout=None, start_tls=False, validate_certs=False
        )
        self._socket = connected
        self._is_local = connected.family == socket.AF_UNIX
        self.implicit_tls: ImplicitTls | None = None
        """To be set before connecting."""
        self._limits = limits
        self.stage = Stage.CONNECT
        self.limit = limits.connect
        self.wire: Wire | None = None

    async def _create_connection(self, timeout: float | None) -> SMTPResponse:
        # the one private method of aiosmtplib that is replaced: it has no other place to hand over a protocol
        loop = asyncio.get_running_loop()
        wire = Wire(loop, self._on_connection_lost)
        async with self._step(Stage.CONNECT, self._limits.connect):
            make = loop.create_unix_connection if self._is_local else loop.create_connection
            self.transport, _ = await make(
                lambda: wire,
                sock=self._socket,
                ssl=self.implicit_tls.context if self.implicit_tls else None,
                server_hostname=self.implicit_tls.name if self.implicit_tls else None,
            )
        self.protocol = self.wire = wire
        async with self._step(Stage.GREETING, self._limits.greeting):
            greeting = await wire.read_response()
        if greeting.code != _READY:
            raise SMTPResponseException(greeting.code, greeting.message)
        return greeting

    async def execute_command(
        self, *args: bytes, timeout: float | Literal[Default.token] | None = Default.token
    ) -> SMTPResponse:
        """As aiosmtplib does, but for a connection that was closed for what the host said: that was not lost."""
        if self.wire is not None:
            self.wire.check()
        return await super().execute_command(*args, timeout=timeout)

    async def lhlo(self) -> None:
        """Greet as LMTP has it (RFC 2033 §4.1). Raises SMTPResponseException."""
        assert self.wire is not None  # noqa: S101  `connect` came before
        reply = await self.wire.execute_command(b"LHLO", str(self.local_hostname).encode("ascii"))
        if reply.code != _DONE:
            raise SMTPResponseException(reply.code, reply.message)
        self.last_ehlo_response = reply

    def close(self) -> None:
        """Close the connection, also one that did not come about."""
        super().close()
        if self.wire is None:
            self._socket.close()

    def _step(self, stage: Stage, limit: timedelta) -> asyncio.Timeout:
        self.stage, self.limit = stage, limit
        return asyncio.timeout(limit.total_seconds())
