"""One connection's octets: aiosmtpd's protocol with its reading, writing, time limits and TLS replaced.

What is kept of aiosmtpd: the protocol under asyncio's streams, its session, one task per connection, and the table of
`smtp_*` methods. Its reader is replaced since it cannot tell whether octets are waiting, reads content line by line and
takes a bare LF; its time limit since it is not renewed in DATA; its STARTTLS since loop.start_tls does the same with a
time limit of its own and in C under uvloop. What is said over the wire is left to `session`.
"""

import asyncio
import logging
import ssl
from datetime import timedelta
from typing import cast

from aiosmtpd import smtp

from mta.mail.reply import Reply
from mta.smtp.alarm import Alarm
from mta.smtp.feed import Feed
from mta.smtp.outbox import Outbox

# aiosmtpd logs commands with their addresses; refusals that matter are logged by `session`
smtp.log.setLevel(logging.WARNING)

_MAX_UNSENT = 8 * 1024
_MAX_UNREAD = 32 * 1024
"""Octets of replies that a client may leave unread before it is made to read them."""
_LINGER = 5.0  # seconds in which a client may read its last reply, and end TLS


class Gone(Exception):
    """The client has left; nobody is there to hear anything."""


class Silent(Exception):
    """The client said nothing, or read nothing, for too long."""


class TooSlow(Silent):
    """The client's content comes too slowly."""


class NoTls(Exception):
    """The TLS handshake failed; the connection is lost."""


class Wire(smtp.SMTP):
    """Lines and pieces in, replies out. Subclasses say what, in `_handle_client`."""

    def __init__(self, hostname: str, idle: timedelta, handshake: timedelta, outbox: Outbox) -> None:
        # per instance, since aiosmtpd shares one dictionary among all connections
        self.command_size_limits = {}
        super().__init__(None, hostname=hostname, enable_SMTPUTF8=True, loop=asyncio.get_running_loop())
        self.feed = Feed()
        self._link: asyncio.Transport
        self._idle_seconds = idle.total_seconds()
        self._handshake_seconds = handshake.total_seconds()
        self._outbox = outbox
        self._unsent: list[bytes] = []
        self._unsent_size = 0
        self._is_waiting = False
        self._lingering: asyncio.TimerHandle | None = None
        self._alarm = Alarm(self.loop, self.feed.give_up)
        self.peer_address = "unknown"
        """The client's IP address."""

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here: start its task."""
        self._attach(cast(asyncio.Transport, transport))
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Octets came."""
        self.feed.put(data)

    def eof_received(self) -> bool:
        """The client will say no more, but may still listen: it hears the replies to what it said."""
        self.feed.end()
        return not self.is_encrypted

    def connection_lost(self, error: Exception | None) -> None:
        """The client has left. Its task finds out by itself: what it has begun to accept is not cut short."""
        self.feed.end()
        self._alarm.close()
        if self._lingering is not None:
            self._lingering.cancel()
        asyncio.StreamReaderProtocol.connection_lost(self, error)

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Nothing: each wait here has its own limit."""

    # --- for subclasses

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is up."""
        return self.tls is not None

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The connection's TLS, or None."""
        found: ssl.SSLObject | None = self._link.get_extra_info("ssl_object")
        return found

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """What serves the client."""
        return self._handler_coroutine

    def say(self, reply: Reply) -> None:
        """Queue a reply; it leaves when the client's pipelined commands are all done (RFC 2920 §3.2)."""
        octets = "\r\n".join([*reply.lines(), ""]).encode("ascii", "backslashreplace")
        self._unsent.append(octets)
        self._unsent_size += len(octets)

    async def flush(self) -> None:
        """Send what is queued, behind all else that is ready to run in this turn of the loop.

        Raises:
            Gone, Silent: the client does not read.
        """
        if not self._unsent:
            return
        if self._link.is_closing():
            raise Gone
        if not self._link.get_write_buffer_size():
            self._outbox.post(self._send)
            return
        # it has not read all of what it was told before
        self._send()
        try:
            async with asyncio.timeout(self._idle_seconds):
                await self._writer.drain()
        except TimeoutError:
            self._link.abort()
            raise Silent from None
        except ConnectionError:
            raise Gone from None

    async def next_line(self, limit: int) -> bytes:
        """Return the next line with its line end, after everything queued was sent if that means waiting.

        Raises:
            Gone, Silent: there is none.
            LineTooLong: it has more than `limit` octets.
        """
        if self._unsent_size > _MAX_UNSENT:
            await self.flush()
            # a client that pipelines without end gets its turn, and no more
            await asyncio.sleep(0)
        if self.feed.has_line:
            return await self.feed.line(limit)
        await self.flush()
        self._is_waiting = True
        self._alarm.set(self._idle_seconds)
        try:
            return await self.feed.line(limit)
        except TimeoutError:
            raise Silent from None
        except EOFError:
            raise Gone from None
        finally:
            self._alarm.clear()
            self._is_waiting = False

    async def next_piece(self, most: int | None = None, within: float | None = None) -> bytes:
        """Return the next octets, as many as there are, and at most `most`; within so many seconds where that is less.

        Raises:
            Gone, Silent: there are none.
        """
        if self.feed.is_empty:
            await self.flush()
            self._alarm.set(self._idle_seconds if within is None else min(within, self._idle_seconds))
        try:
            return await self.feed.piece(most)
        except TimeoutError:
            raise Silent from None
        except EOFError:
            raise Gone from None
        finally:
            self._alarm.clear()

    async def talks_within(self, seconds: float) -> bool:
        """Return whether the client says anything, without taking it.

        Raises:
            Gone: it left.
        """
        self._is_waiting = True
        self._alarm.set(seconds)
        try:
            await self.feed.wait()
        except TimeoutError:
            return False
        finally:
            self._alarm.clear()
            self._is_waiting = False
        if self.feed.is_empty:
            raise Gone
        return True

    async def encrypt(self, context: ssl.SSLContext, *, from_the_first: bool = False) -> None:
        """Send what is queued and go on under TLS.

        The feed must be empty, since what came in clear must not survive: but where TLS is what the connection begins
        with (`from_the_first`), what has come is the beginning of the handshake.

        Raises:
            NoTls: the handshake failed.
        """
        self._send()
        if self.feed.has_ended:
            raise NoTls("the client left")
        link = self._link
        # no await between the last look at the feed and the call, which takes the transport away from us at once
        handshake = self.loop.start_tls(
            link,
            self,
            context,
            server_side=True,
            ssl_handshake_timeout=self._handshake_seconds,
            ssl_shutdown_timeout=_LINGER,
        )
        try:
            if from_the_first:
                starting = self.loop.create_task(handshake)
                # runs behind its first step, which changes the protocol and schedules two calls; the one scheduled
                # then runs behind those, and before the loop reads anything more
                self.loop.call_soon(lambda: self.loop.call_soon(self._hand_over, link))
                transport = await starting
            else:
                transport = await handshake
        except (OSError, ssl.SSLError) as error:
            raise NoTls(str(error)) from None
        if transport is None:
            raise NoTls("the client left")
        self._attach(transport)
        self.transport = transport
        self._writer = asyncio.StreamWriter(transport, self, self._reader, self.loop)

    def _hand_over(self, link: asyncio.Transport) -> None:
        """Give what came before TLS was there to it. uvloop reads before a protocol can tell it to wait."""
        tls = link.get_protocol()
        if tls is self or link.is_closing():
            return  # the call failed, and says so itself
        came, tls = self.feed.take_all(), cast(asyncio.BufferedProtocol, tls)
        while came:
            with memoryview(tls.get_buffer(len(came))) as room:
                size = min(len(room), len(came))
                room[:size] = came[:size]
            tls.buffer_updated(size)
            came = came[size:]

    def hang_up(self, *last: Reply) -> None:
        """Say something last, and close."""
        for reply in last:
            self.say(reply)
        link = self._link
        self._send()
        if not link.is_closing():
            link.close()
        if self._lingering is None and (link.get_write_buffer_size() or self.is_encrypted):
            self._lingering = self.loop.call_later(_LINGER, link.abort)

    def _attach(self, link: asyncio.Transport) -> None:
        self._link = link
        link.set_write_buffer_limits(high=_MAX_UNREAD)
        self.feed.attach(link)

    def _send(self) -> None:
        if self._unsent and not self._link.is_closing():
            self._link.write(b"".join(self._unsent))
            self._unsent.clear()
            self._unsent_size = 0
