"""The octets of one connection on their way in: waited for, taken as lines or as they come.

asyncio's StreamReader would do, but for two things that this door needs: to know at once whether octets are waiting (no
reply is sent, and no TLS begun, while a client's pipelined commands are), and to hand on large pieces without copying.
"""

import asyncio

_CRLF = b"\r\n"

HIGH_WATER = 64 * 1024
"""Octets that may wait before the client is made to wait."""


class LineTooLong(Exception):
    """A line is over its limit; it has been read to its end and dropped."""


class Feed:
    """Fed by a protocol, emptied by one task."""

    def __init__(self) -> None:
        self._octets = b""
        self._start = 0
        self._ended = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """Slow down this transport when too much is waiting."""
        self._transport = transport
        self._paused = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waiting."""
        return self._start >= len(self._octets)

    @property
    def has_ended(self) -> bool:
        """Whether no more will come."""
        return self._ended

    @property
    def has_line(self) -> bool:
        """Whether `line` would not have to wait."""
        return self._octets.find(_CRLF, self._start) >= 0

    def put(self, octets: bytes) -> None:
        """Octets came."""
        self._octets = octets if self.is_empty else self._octets[self._start :] + octets
        self._start = 0
        if len(self._octets) > HIGH_WATER and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._wake()

    def give_up(self) -> None:
        """Let who waits for octets wait no longer: TimeoutError, unless they have come in the very moment."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())

    def put_back(self, octets: bytes) -> None:
        """Return what was taken too much: it comes again, before all else that is waiting."""
        self._octets, self._start = octets + self._octets[self._start :], 0

    async def piece(self, most: int | None = None) -> bytes:
        """Take what is waiting, one octet at least, and `most` at most.

        Raises:
            EOFError: no more will come.
            TimeoutError: it was given up.
        """
        while self.is_empty:
            await self._more()
        end = len(self._octets) if most is None else self._start + most
        octets = self._octets[self._start : end]
        self._start += len(octets)
        if self.is_empty:
            self._octets, self._start = b"", 0
        self._drained()
        return octets

    def take_all(self) -> bytes:
        """Take what is waiting, perhaps nothing."""
        octets = self._octets[self._start :]
        self._octets, self._start = b"", 0
        return octets

    async def wait(self) -> None:
        """Wait until something is waiting, or nothing will come any more.

        Raises:
            TimeoutError: it was given up.
        """
        while self.is_empty and not self._ended:
            await self._more()

    async def line(self, limit: int) -> bytes:
        """Take a line with its line end, which is CRLF and nothing else (RFC 5321 §2.3.8).

        Raises:
            EOFError: no more will come.
            TimeoutError: it was given up.
            LineTooLong: it has more than `limit` octets.
        """
        too_long = False
        while (end := self._octets.find(_CRLF, self._start)) < 0:
            if len(self._octets) - self._start > limit:
                too_long = True
                # the LF that makes it a line end may be next
                self._octets, self._start = b"\r" if self._octets.endswith(b"\r") else b"", 0
                self._drained()
            await self._more()
        line = self._octets[self._start : end + len(_CRLF)]
        self._start = end + len(_CRLF)
        self._drained()
        if too_long or len(line) > limit:
            raise LineTooLong
        return line

    async def _more(self) -> None:
        if self._ended:
            raise EOFError
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _drained(self) -> None:
        if self._paused and self._transport is not None and len(self._octets) - self._start <= HIGH_WATER // 2:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
