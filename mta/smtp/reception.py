"""One content on its way from the wire into its reader: how fast it must come, and how much room it may take.

Octets are always read on to the content's real end, kept or not, so that client and server stay in step.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mta.mail import failures
from mta.smtp.budget import Share
from mta.smtp.chunks import ChunkReader
from mta.smtp.content import ContentReader
from mta.smtp.data import DataReader
from mta.smtp.pace import Pace
from mta.smtp.settings import DoorSettings
from mta.smtp.wire import Silent, TooSlow, Wire

_TURN = 64 * 1024
"""Octets after which other clients have a turn: checking more at once would keep them waiting."""


class Reception:
    """Receives one content, in one go or in chunks. Its room is held until `close`."""

    def __init__(self, wire: Wire, limits: DoorSettings, share: Share) -> None:
        self._wire = wire
        self._limits = limits
        self._share = share

    async def data(self, reader: DataReader) -> None:
        """Read a content up to CRLF.CRLF.

        Raises:
            Gone, Silent, TooSlow: it does not come to its end.
        """
        async with self._in_time() as pace:
            behind = None
            while behind is None:
                piece = await self._piece(pace)
                await self._make_room(reader, len(piece), pace)
                behind = reader.feed(piece)
                self._forget_refused(reader)
        self._wire.feed.put_back(behind)

    async def chunk(self, octets: int, reader: ChunkReader | None) -> None:
        """Read a chunk of so many octets; without a reader, it is passed over.

        Raises:
            Gone, Silent, TooSlow: it does not come to its end.
        """
        async with self._in_time() as pace:
            while octets:
                piece = await self._piece(pace, octets)
                octets -= len(piece)
                if reader is not None:
                    await self._make_room(reader, len(piece), pace)
                    reader.feed(piece)
                    self._forget_refused(reader)

    def close(self) -> None:
        """Give its room back: it is stored, or dropped. Can be repeated."""
        self._share.give_back()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[Pace]:
        limits, whole = self._limits, self._limits.content_timeout
        try:
            async with asyncio.timeout(None if whole is None else whole.total_seconds()):
                yield Pace(limits.min_data_rate, limits.data_rate_window.total_seconds(), self._now)
        except TimeoutError:
            raise Silent from None

    async def _piece(self, pace: Pace, most: int | None = None) -> bytes:
        left = pace.left(self._now)
        if not self._wire.feed.is_empty:
            await asyncio.sleep(0)
        try:
            piece = await self._wire.next_piece(min(most or _TURN, _TURN), left)
        except Silent:
            if left is not None and left < self._limits.idle_timeout.total_seconds():
                raise TooSlow from None
            raise
        pace.came(len(piece), self._now)
        return piece

    async def _make_room(self, reader: ContentReader, octets: int, pace: Pace) -> None:
        """See that so many octets may be kept, or that they will not be."""
        wanted = reader.would_keep(octets)
        if not wanted or self._share.take(wanted):
            return
        if not await self._share.wait(wanted, self._limits.room_patience.total_seconds()):
            reader.refuse(failures.NO_SPACE)
        pace.begin(self._now)

    def _forget_refused(self, reader: ContentReader) -> None:
        if reader.refusal is not None:
            self._share.give_back()

    @property
    def _now(self) -> float:
        return self._wire.loop.time()
