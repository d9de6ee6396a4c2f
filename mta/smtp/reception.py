"""One content on its way from the wire into its reader: how fast it must come, and how much room it may take.

Octets are always read on to the content's real end, kept or not, so that client and server stay in step.
"""

import asyncio
from typing import overload

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
        self._ends: float | None = None
        """When the content must have come, by the loop's clock; None: whenever."""

    async def data(self, reader: DataReader) -> None:
        """Read a content up to CRLF.CRLF.

        Raises:
            Gone, Silent, TooSlow: it does not come to its end.
        """
        pace, behind = self._begin(), None
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
        pace = self._begin()
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

    def _begin(self) -> Pace:
        limits, whole, now = self._limits, self._limits.content_timeout, self._now
        self._ends = None if whole is None else now + whole.total_seconds()
        return Pace(limits.min_data_rate, limits.data_rate_window.total_seconds(), now)

    async def _piece(self, pace: Pace, most: int | None = None) -> bytes:
        now = self._now
        left, whole = pace.left(now), self._left(now)
        if not self._wire.feed.is_empty:
            await asyncio.sleep(0)
        try:
            piece = await self._wire.next_piece(min(most or _TURN, _TURN), _lesser(left, whole))
        except Silent:
            if left is not None and left < _lesser(whole, self._limits.idle_timeout.total_seconds()):
                raise TooSlow from None
            raise
        pace.came(len(piece), self._now)
        return piece

    def _left(self, now: float) -> float | None:
        """Return the seconds that are left for the whole content; None: as many as it takes.

        Raises:
            Silent: there are none.
        """
        if self._ends is None:
            return None
        if now >= self._ends:
            raise Silent
        return self._ends - now

    async def _make_room(self, reader: ContentReader, octets: int, pace: Pace) -> None:
        """See that so many octets may be kept, or that they will not be."""
        wanted = reader.would_keep(octets)
        if not wanted or self._share.take(wanted):
            return
        patience = self._limits.room_patience.total_seconds()
        if not await self._share.wait(wanted, _lesser(self._left(self._now), patience)):
            reader.refuse(failures.NO_SPACE)
        pace.begin(self._now)

    def _forget_refused(self, reader: ContentReader) -> None:
        if reader.refusal is not None:
            self._share.give_back()

    @property
    def _now(self) -> float:
        return self._wire.loop.time()


@overload
def _lesser(one: float | None, other: float) -> float: ...
@overload
def _lesser(one: float | None, other: float | None) -> float | None: ...
def _lesser(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
