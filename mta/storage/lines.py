"""What a worker remembers of the lines it claims from, so that no claim walks past the same deliveries twice.

A lane's line is its waiting deliveries in the order of their due times. Up to the frontier everything due was taken or
is for a domain that is known to wait: those are looked up by domain once it may be written to again. What others put
back before the frontier (a worker that ends gives back its leases) is found by a sweep that goes round now and then.
All of it is a memory of what the database has: forgetting it costs a walk. Reading and leasing is left to `claims`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mta.queue.lanes import Lane, Turns, is_paused
from mta.queue.model import Pause, Stream
from mta.storage.rows import to_ms

SWEPT_EVERY = timedelta(seconds=30)
"""How long what another worker put back before the frontier may wait for this one, beside the time a sweep takes."""

MOST_BEHIND = 10_000
"""Domains that are known to wait in one lane; of more, the sweep finds the others in turn."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of due times."""

    due_at: int
    id: str


START = Position(-(2**62), "")


@dataclass(slots=True)
class Reach:
    """How far a lane was looked through."""

    frontier: Position = START
    behind: dict[str, None] = field(default_factory=dict)
    """Domains that may have something due up to the frontier, those first that were found first."""
    more: bool = True
    """Whether something due may stand behind the frontier."""
    capped: bool = False
    """Whether the lane was left although something is due, because it has its part of the window in hand."""
    next_due: int | None = None
    """When the first delivery behind the frontier becomes due."""
    sweep: str | None = None
    """The domain that the sweep has come to; None: none is under way."""
    swept_at: int = 0

    def copy(self) -> "Reach":
        """Return a reach that may be changed without this one."""
        return replace(self, behind=dict(self.behind))

    def leave_behind(self, domain: str) -> None:
        """Note that a domain may have something due up to the frontier."""
        self.behind[domain] = None
        if len(self.behind) > MOST_BEHIND:
            del self.behind[next(iter(self.behind))]

    def expect(self, due_at: int) -> None:
        """Note that something becomes due."""
        self.next_due = due_at if self.next_due is None else min(due_at, self.next_due)


@dataclass(frozen=True, slots=True)
class Known:
    """What a claim begins with."""

    reaches: Mapping[Lane, Reach]
    """Not to be changed, but copied: they are somebody else's."""
    turns: Turns
    after: Mapping[str, str]
    """By stream, the name from which on lanes are listed this time: there are too many for one look."""
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Learned:
    """What a claim found out."""

    reaches: Mapping[Lane, Reach]
    turns: Turns
    after: Mapping[str, str]
    """By stream, the name from which on the list was made."""
    until: Mapping[str, str]
    """By stream, the name before which it ended, when it was cut."""
    paused: tuple[Pause, ...]


class Lines:
    """One worker's memory of its lines. Lives on the event loop; what it hands out is a copy."""

    def __init__(self) -> None:
        self.weights: Mapping[str, int] = {}
        self._reaches: dict[Lane, Reach] = {}
        self._turns = Turns()
        self._after: Mapping[str, str] = {}
        self._seen: set[str] = set()
        self._paused: tuple[Pause, ...] = ()
        self._noted: list[tuple[Lane, str]] | None = None
        self.looked_at: datetime | None = None
        """When the last claim began of which nothing was forgotten."""

    def begin(self, now: datetime) -> Known:
        """Return what a claim may go by; what is noted until it is learned from is kept beside."""
        if self.looked_at is not None and now < self.looked_at:
            # the clock was set back: what becomes due from now on stands before the frontiers
            self.forget()
        self.looked_at = now
        self._noted = []
        return Known(dict(self._reaches), self._turns, self._after, self.weights)

    def learn(self, learned: Learned) -> None:
        """Take over what a claim found out, once it is committed."""
        noted, self._noted = self._noted or [], None
        for lane in [lane for lane in self._reaches if _in_list(lane, learned)]:
            del self._reaches[lane]
        self._reaches |= learned.reaches
        self._turns, self._after, self._paused = learned.turns, learned.until, learned.paused
        self._seen |= {stream.value for stream in Stream if stream not in learned.until}
        for known, domain in noted:
            self.put_back(known, domain)

    def forget(self) -> None:
        """Know nothing: after an error nobody can say what was committed."""
        self._reaches, self._turns, self._after, self._noted = {}, Turns(), {}, None
        self.looked_at = None
        self._seen.clear()

    def put_back(self, lane: Lane, domain: str) -> None:
        """Note that something due was committed to a lane, perhaps before its frontier."""
        if self._noted is not None:
            self._noted.append((lane, domain))
        reach = self._reaches.setdefault(lane, Reach())
        reach.leave_behind(domain)
        reach.more = True

    def expect(self, lane: Lane, due_at: datetime) -> None:
        """Note that something of a lane becomes due at a time."""
        self._reaches.setdefault(lane, Reach(more=False)).expect(to_ms(due_at))

    def waits(self, lane: Lane, domain: str, now: datetime) -> bool:
        """Return whether something that is due waits in a lane for its turn or for a domain, as far as is known."""
        if is_paused(lane, self._paused):
            return True
        reach = self._reaches.get(lane)
        if reach is None:
            return lane.stream not in self._seen
        due = reach.next_due is not None and reach.next_due <= to_ms(now)
        return due or reach.more or reach.capped or domain in reach.behind

    def passed_over(self, lane: Lane) -> bool:
        """Return whether what is due in a lane was looked at and left by the last claim."""
        reach = self._reaches.get(lane)
        return reach is not None and (reach.capped or not reach.more)

    def next_due(self, lane: Lane) -> int | None:
        """Return when the first delivery of a lane becomes due that the last claim did not see due."""
        reach = self._reaches.get(lane)
        return None if reach is None else reach.next_due


def _in_list(lane: Lane, learned: Learned) -> bool:
    """Whether a lane would be in a claim's list if it had something waiting."""
    first, last = learned.after.get(lane.stream, ""), learned.until.get(lane.stream)
    return first <= lane.account and (last is None or lane.account < last)
