"""A waiting line that is fair: transactional before bulk, bulk a tenth of the turns at least, and the lanes of a stream
in turn, whoever came first. What waits, and for what, is its user's business.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

from mta.queue.lanes import Lane
from mta.queue.model import Stream

T = TypeVar("T")

BULK_TURN = 10
"""Every tenth turn is bulk's when both streams wait."""


class Line(Generic[T]):
    """Who waits, by lane."""

    def __init__(self) -> None:
        self._lanes: dict[Stream, OrderedDict[str, deque[T]]] = {stream: OrderedDict() for stream in Stream}
        self._counts = dict.fromkeys(Stream, 0)
        self._turn = 0

    def __len__(self) -> int:
        return sum(self._counts.values())

    def waiting(self, stream: Stream) -> int:
        """Return how many of a stream wait."""
        return self._counts[stream]

    def of(self, lane: Lane) -> int:
        """Return how many of a lane wait."""
        return len(self._lanes[lane.stream].get(lane.account, ()))

    def join(self, lane: Lane, item: T) -> None:
        """Wait at the end of the lane."""
        self._lanes[lane.stream].setdefault(lane.account, deque()).append(item)
        self._counts[lane.stream] += 1

    def leave(self, lane: Lane, item: T) -> None:
        """Wait no longer; nothing happens when it does not wait here."""
        items = self._lanes[lane.stream].get(lane.account)
        if items is not None and item in items:
            items.remove(item)
            self._took(lane.stream, lane.account)

    def next(self, *, bulk: bool = True) -> tuple[Lane, T] | None:
        """Take out whose turn it is; without `bulk` none of its. None: nobody waits who may go."""
        stream = self._whose_turn(bulk)
        if stream is None:
            return None
        self._turn += 1
        account, items = next(iter(self._lanes[stream].items()))
        item = items.popleft()
        self._lanes[stream].move_to_end(account)
        self._took(stream, account)
        return Lane(stream, account), item

    def _whose_turn(self, bulk: bool) -> Stream | None:
        bulk = bulk and self._counts[Stream.BULK] > 0
        if not self._counts[Stream.TRANSACTIONAL]:
            return Stream.BULK if bulk else None
        # the tenth turn, not the first: a line that was empty begins with what hurries
        return Stream.BULK if bulk and self._turn % BULK_TURN == BULK_TURN - 1 else Stream.TRANSACTIONAL

    def _took(self, stream: Stream, account: str) -> None:
        self._counts[stream] -= 1
        if not self._lanes[stream][account]:
            del self._lanes[stream][account]
