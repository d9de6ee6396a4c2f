"""Hard-bounce and complaint ratios of an account's stream over windows of time, held against limits.

Counts are folded from events into slots of ten minutes by the store. Here is only what they mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from mta.events import Event, EventType

SLOT = timedelta(minutes=10)
"""A window is as exact as this."""


class Tally(Struct, frozen=True):
    """What became of deliveries in some span."""

    delivered: int = 0
    ended: int = 0
    """In a final state because of what hosts said: delivered, bounced or expired."""
    hard_bounced: int = 0
    complained: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.delivered + other.delivered,
            self.ended + other.ended,
            self.hard_bounced + other.hard_bounced,
            self.complained + other.complained,
        )


class Measure(StrEnum):
    """What is held against a limit."""

    BOUNCES = "bounce_rate"
    """Hard bounces of all deliveries that ended."""
    COMPLAINTS = "complaint_rate"
    """Complaints of all deliveries that a host accepted."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Above which ratio somebody is warned, and suspended."""

    warn: float
    suspend: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's rules."""

    windows: tuple[timedelta, ...]
    bounces: Limit
    complaints: Limit
    min_volume: int
    """Below it, in a window, nobody is suspended."""
    warn_min_volume: int
    """Below it nobody is warned either."""


class Judgement(StrEnum):
    """What the ratios say."""

    GOOD = "good"
    WARN = "warn"
    SUSPEND = "suspend"


class Evidence(Struct, frozen=True):
    """One ratio in one window, with the limit it is held against."""

    measure: Measure
    window: timedelta
    part: int
    whole: int
    limit: Limit
    judgement: Judgement

    @property
    def ratio(self) -> float:
        """The part of the whole; 0 of nothing is 0."""
        return self.part / self.whole if self.whole else 0.0

    @property
    def exceeded(self) -> float:
        """The limit that the judgement speaks of."""
        return self.limit.warn if self.judgement is Judgement.WARN else self.limit.suspend


def judge(tallies: Mapping[timedelta, Tally], limits: Limits) -> list[Evidence]:
    """Return every ratio of every window with what it says, the worst first.

    Hard bounces suspend at their limit, complaints above theirs: 10 % and 2 in 1,000 are the usual words, and
    "reaches" and "exceeds" their meaning.
    """
    found = []
    for window in limits.windows:
        tally = tallies.get(window, Tally())
        found.append(_bounces(tally, window, limits))
        found.append(_complaints(tally, window, limits))
    order = [Judgement.SUSPEND, Judgement.WARN, Judgement.GOOD]
    return sorted(found, key=lambda each: (order.index(each.judgement), -each.ratio / each.limit.suspend))


def _bounces(tally: Tally, window: timedelta, limits: Limits) -> Evidence:
    part, whole, limit = tally.hard_bounced, tally.ended, limits.bounces
    suspends, warns = part >= _share(limit.suspend, whole), part >= _share(limit.warn, whole)
    reaches = _judgement(suspends and part > 0, warns and part > 0, whole, limits)
    return Evidence(Measure.BOUNCES, window, part, whole, limit, reaches)


def _complaints(tally: Tally, window: timedelta, limits: Limits) -> Evidence:
    # below nothing when what bounced late was delivered before the window began
    part, whole, limit = tally.complained, max(0, tally.delivered), limits.complaints
    exceeds = _judgement(part > _share(limit.suspend, whole), part > _share(limit.warn, whole), whole, limits)
    return Evidence(Measure.COMPLAINTS, window, part, whole, limit, exceeds)


def _share(ratio: float, whole: int) -> Decimal:
    # as the operator wrote it: 0.07 of 100 is 7, and in floats a little more, which 7 would not reach
    return Decimal(str(ratio)) * whole


def _judgement(suspends: bool, warns: bool, volume: int, limits: Limits) -> Judgement:
    if suspends and volume >= limits.min_volume:
        return Judgement.SUSPEND
    # what is too little to suspend for is still worth a word
    if (suspends or warns) and volume >= limits.warn_min_volume:
        return Judgement.WARN
    return Judgement.GOOD


COUNTED = frozenset({EventType.DELIVERED, EventType.BOUNCED, EventType.EXPIRED, EventType.COMPLAINED})
"""What events may add something to their account's stream."""


def tally_of(event: Event) -> Tally | None:
    """Return what an event adds to its account's stream; None when nothing.

    A late bounce takes back the success that it follows. Notifications of ours are in nobody's ratios, nor are bounces
    that the breaker of their site does not believe.
    """
    if event.detail.get("notification") or event.detail.get("breaker"):
        return None
    hard = int(event.hardness == "hard")
    match event.type:
        case EventType.DELIVERED:
            return Tally(delivered=1, ended=1)
        case EventType.BOUNCED if event.detail.get("late"):
            return Tally(delivered=-1, hard_bounced=hard)
        case EventType.BOUNCED:
            return Tally(ended=1, hard_bounced=hard)
        case EventType.EXPIRED:
            return Tally(ended=1)
        case EventType.COMPLAINED:
            return Tally(complained=1)
        case _:
            return None


def slot_of(at: datetime) -> int:
    """Return the number of the slot that a time is in."""
    return int((at - datetime(2020, 1, 1, tzinfo=UTC)) // SLOT)


def fold(slots: Sequence[tuple[int, Tally]], windows: Sequence[timedelta], now: datetime) -> dict[timedelta, Tally]:
    """Add up slots for each window that ends now."""
    last = slot_of(now)
    sums = {}
    for window in windows:
        # rounded up: a window shorter than a slot would see nothing
        first = last + (-window // SLOT)
        sums[window] = sum((tally for number, tally in slots if first < number <= last), Tally())
    return sums
