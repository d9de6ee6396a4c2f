"""The octets of one connection on their way in: waited for, taken as lines or as they come.

asyncio's StreamReader would do, but for two things that this door needs: to know at once whether octets are waiting (no
reply is sent, and no TLS begun, while a client's pipelined commands are), and to hand on large pieces without copying.
"""

import asyncio

HIGH_WATER = 128 * 1024
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
    def has_line(self) -> bool:
        """Whether `line` would not have to wait."""
        return self._octets.find(b"\n", self._start) >= 0

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

    def put_back(self, octets: bytes) -> None:
        """Return what was taken too much; nothing else may be waiting."""
        self._octets, self._start = octets, 0

    async def piece(self) -> bytes:
        """Take all that is waiting, one octet at least.

        Raises:
            EOFError: no more will come.
        """
        while self.is_empty:
            await self._more()
        octets = self._octets[self._start :] if self._start else self._octets
        self._octets, self._start = b"", 0
        self._drained()
        return octets

    async def line(self, limit: int) -> bytes:
        """Take a line with its line end.

        Raises:
            EOFError: no more will come.
            LineTooLong: it has more than `limit` octets.
        """
        too_long = False
        while (end := self._octets.find(b"\n", self._start)) < 0:
            if len(self._octets) - self._start > limit:
                too_long = True
                self._octets, self._start = b"", 0
                self._drained()
            await self._more()
        line = self._octets[self._start : end + 1]
        self._start = end + 1
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
