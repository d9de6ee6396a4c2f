"""Whose deliveries are claimed next, when more are due than there are places: by lanes, one for each account's stream.

Transactional mail goes before bulk, but of what is claimed bulk gets a tenth at least. Within a stream accounts take
turns, by weight. A lane whose attempts hang does not fill the window: what it may have in hand shrinks with the places
that are left, so that there is always one for a lane that has nothing in hand yet. What is due is left to the store.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from msgspec import Struct

from mta.queue.model import Pause, PauseScope, Stream

BULK_PART = 0.1
"""Of the claims, at least this much is for bulk while any of it is due."""

BULK_WINDOW = 0.75
"""Of the window, all bulk together never has more than this in hand."""

LONE = 2
"""A lane may have in hand as many times what stays free: alone, two thirds of what there is; of two, two fifths."""

_MOST_OWED = 50.0
"""Claims that bulk may be owed: what it missed in a night of transactional mail does not come back in a morning."""


class Lane(Struct, frozen=True, order=True):
    """The deliveries of one account's stream."""

    stream: Stream
    account: str


NOTHING: Mapping[Lane, int] = MappingProxyType({})
"""Nothing in hand."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What was claimed before, as far as it matters for whose turn it is."""

    bulk_owed: float = 0.0
    """Claims that bulk should have had by now and did not."""
    had: Mapping[Lane, float] = field(default_factory=dict)
    """Claims by weight that a lane had more than the one that had least. Lanes with nothing due are not in it."""

    def after(
        self, taken: Mapping[Lane, int], due: Sequence[Lane], weights: Mapping[str, int] = MappingProxyType({})
    ) -> "Turns":
        """Return the turns after a claim; `due` are the lanes that had something due when it began."""
        bulk = sum(count for lane, count in taken.items() if lane.stream is Stream.BULK)
        waits = any(lane.stream is Stream.BULK for lane in due)
        owed = self.bulk_owed + BULK_PART * sum(taken.values()) - bulk if waits else 0.0
        had = {lane: self.had.get(lane, 0.0) + taken.get(lane, 0) / _weight(weights, lane) for lane in due}
        least = min(had.values(), default=0.0)
        return Turns(min(_MOST_OWED, max(0.0, owed)), {lane: much - least for lane, much in had.items()})


def shares(
    due: Sequence[Lane],
    limit: int,
    in_hand: Mapping[Lane, int] = NOTHING,
    weights: Mapping[str, int] = MappingProxyType({}),
    turns: Turns = Turns(),
    window: int = 0,
) -> dict[Lane, int]:
    """Divide a claim among lanes that have something due; each gets what is named here at most.

    Args:
        due: The lanes, each once. Of lanes that had as much, the first ones go first.
        limit: How many deliveries are wanted.
        in_hand: How many deliveries of a lane are in the window already.
        weights: Turns of an account for one of an account that is not named here.
        turns: What was claimed before.
        window: How many deliveries may be in hand in all; 0: lanes are bounded by the limit alone.
    """
    rooms = _rooms(due, in_hand, window)
    quick = [lane for lane in due if lane.stream is Stream.TRANSACTIONAL]
    bulk = [lane for lane in due if lane.stream is Stream.BULK]
    if window:
        limit = min(limit, max(0, window - sum(in_hand.values())))
    bulk_room = _bulk_room(bulk, rooms, in_hand, window)
    kept = min(limit, int(turns.bulk_owed + BULK_PART * limit + 1e-9), bulk_room) if bulk else 0
    given = _deal(quick, limit - kept, rooms, weights, turns)
    given |= _deal(bulk, min(limit - sum(given.values()), bulk_room), rooms, weights, turns)
    return {lane: count for lane, count in given.items() if count}


def room_of(lane: Lane, wanted: int, in_hand: Mapping[Lane, int], window: int) -> int:
    """Return what `shares` would give a lane if nobody else had anything due: asked for each message that comes."""
    left = window - sum(in_hand.values())
    if left <= 0:
        return 0
    if lane.stream is Stream.BULK:
        left = min(left, int(window * BULK_WINDOW) - _bulk_in_hand(in_hand))
    return min(wanted, max(0, left), _lone_room(in_hand.get(lane, 0), left))


def is_paused(lane: Lane, pauses: Iterable[Pause]) -> bool:
    """Return whether a lane is not to be delivered for now. Pauses of sites say nothing of lanes."""
    return any(
        pause.scope is PauseScope.ALL
        or (pause.scope is PauseScope.ACCOUNT and pause.value == lane.account)
        or (pause.scope is PauseScope.STREAM and pause.value == lane.stream)
        for pause in pauses
    )


def _rooms(due: Sequence[Lane], in_hand: Mapping[Lane, int], window: int) -> dict[Lane, int]:
    """Return how many more each lane may have in hand."""
    if not window:
        return {}
    free = max(0, window - sum(in_hand.values()))
    bulk_free = max(0, min(free, int(window * BULK_WINDOW) - _bulk_in_hand(in_hand)))
    rooms = {}
    for lane in due:
        own, left = in_hand.get(lane, 0), bulk_free if lane.stream is Stream.BULK else free
        rooms[lane] = _lone_room(own, left)
    return rooms


def _lone_room(own: int, left: int) -> int:
    # x more, such that own + x <= LONE * (left - x); one with nothing in hand may always have one
    return max(int(left > 0 and own == 0), (LONE * left - own) // (LONE + 1))


def _bulk_in_hand(in_hand: Mapping[Lane, int]) -> int:
    return sum(count for lane, count in in_hand.items() if lane.stream is Stream.BULK)


def _bulk_room(bulk: Sequence[Lane], rooms: Mapping[Lane, int], in_hand: Mapping[Lane, int], window: int) -> int:
    if not window:
        return 2**62
    left = max(0, int(window * BULK_WINDOW) - _bulk_in_hand(in_hand))
    return min(left, sum(rooms[lane] for lane in bulk))


def _deal(
    lanes: Sequence[Lane], places: int, rooms: Mapping[Lane, int], weights: Mapping[str, int], turns: Turns
) -> dict[Lane, int]:
    """Give out places one by one, each to the lane that had least by weight. A lane that comes anew begins level."""
    level = min((turns.had[lane] for lane in lanes if lane in turns.had), default=0.0)
    line = [(turns.had.get(lane, level) + 1 / _weight(weights, lane), at) for at, lane in enumerate(lanes)]
    heapq.heapify(line)
    given = dict.fromkeys(lanes, 0)
    while places > 0 and line:
        had, at = line[0]
        lane = lanes[at]
        if lane in rooms and given[lane] >= rooms[lane]:
            heapq.heappop(line)
            continue
        given[lane] += 1
        places -= 1
        heapq.heapreplace(line, (had + 1 / _weight(weights, lane), at))
    return given


def _weight(weights: Mapping[str, int], lane: Lane) -> int:
    return max(1, weights.get(lane.account, 1))
