"""What operators ask of the store and what they see: values only. Who reads and changes them is left to its users."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mta.mail.reply import Reply
from mta.queue.lanes import Lane
from mta.queue.model import State, Stream


@dataclass(frozen=True, slots=True)
class Selector:
    """Which deliveries are meant: all conditions must hold, what is None says nothing.

    Without a state and an id, only deliveries that may still be attempted are meant: queued, active and held ones.
    """

    id: str | None = None
    """A delivery's id, or a queue id: then all deliveries of the message."""
    account: str | None = None
    domain: str | None = None
    state: State | None = None
    older_than: timedelta | None = None
    """Accepted at least this long ago."""
    tag: str | None = None
    site: str | None = None
    stream: str | None = None
    hold_reason: str | None = None
    """How the reason begins for which it is held."""

    def __str__(self) -> str:
        """The selector as an operator would type it."""
        parts = [
            f"--{name.replace('_', '-')} {value}"
            for name in self.__slots__
            if (value := getattr(self, name)) is not None
        ]
        return " ".join(parts) or "everything"


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One delivery as an operator sees it."""

    id: str
    queue_id: str
    account: str
    stream: Stream
    tag: str | None
    message_id: str
    reverse_path: str
    """Empty for the null reverse-path."""
    size: int
    accepted_at: datetime
    recipient: str
    domain: str
    state: State
    due_at: datetime
    attempts: int
    pool: str | None
    site: str | None
    source: str | None
    owner: int | None
    lease_until: datetime | None
    hold_reason: str | None
    held_since: datetime | None
    held_for: timedelta
    return_path: str | None
    reply: Reply | None
    """What was said last."""
    reply_host: str | None
    release_at: datetime | None
    expires_at: datetime | None
    final_at: datetime | None
    metadata: str | None


@dataclass(frozen=True, slots=True)
class WaitingLane:
    """A lane that has something waiting."""

    lane: Lane
    due_at: datetime
    """When the first of it is due."""


@dataclass(frozen=True, slots=True)
class Total:
    """How many deliveries are in one state, and when the oldest was accepted."""

    count: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class AgeRow:
    """Open deliveries of one domain, account or site, counted by the time since acceptance."""

    name: str
    """Empty: of no site yet, since none was attempted."""
    count: int
    oldest: datetime
    by_age: tuple[int, ...]
    """Within each of `Shape.ages` and beyond; the sum is `count`."""
    sites: tuple[str, ...] = ()
    """Of a domain: where deliveries of it that wait were last attempted, as far as that was looked at."""


@dataclass(frozen=True, slots=True)
class LaneRow:
    """The deliveries of an account's stream that wait."""

    lane: Lane
    count: int
    due_at: datetime
    """When the first of them is due."""


@dataclass(frozen=True, slots=True)
class WithheldRow:
    """Hard bounces of an account's stream at a site that are not believed yet."""

    site: str
    account: str
    stream: str
    count: int
    since: datetime
    latest: datetime


@dataclass(frozen=True, slots=True)
class Shape:
    """Open deliveries by something and by age."""

    ages: tuple[timedelta, ...]
    """Upper bounds of all columns but the last."""
    rows: tuple[AgeRow, ...]
    """Most deliveries first."""
    is_cut: bool
    """There are more rows than were asked for."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """What an operator did."""

    id: str
    at: datetime
    who: str
    action: str
    target: str
    reason: str
    detail: str
    """JSON: what came of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What came of an operator's change."""

    changed: int
    active: int
    """Passed over because a worker has them in hand."""
    other: int
    """Passed over because their state does not allow it."""


@dataclass(frozen=True, slots=True)
class KnownId:
    """A message or a delivery that is in the store."""

    id: str
    checksum: bytes | None
    """Of a message's octets; None: it is a delivery."""
    hold_reason: str | None


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account made by command."""

    name: str
    data: str
    """JSON with the keys of an `[[account]]`."""
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept after the last delivery of a message is final."""

    body: timedelta = timedelta(0)
    events: timedelta = timedelta(days=90)
    """Messages and deliveries without their octets, all events, and notes of what came back."""
