"""What operators ask of the store and what they see: values only. Who reads and changes them is left to its users."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mta.mail.reply import Reply
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
class Total:
    """How many deliveries are in one state, and when the oldest was accepted."""

    count: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain's open deliveries, counted by the time since acceptance."""

    domain: str
    count: int
    oldest: datetime
    by_age: tuple[int, int, int, int]
    """Within each of `Stats.ages`, and beyond."""


@dataclass(frozen=True, slots=True)
class Stats:
    """The queue in numbers."""

    totals: Mapping[State, Total]
    """Of queued, active and held."""
    domains: tuple[DomainRow, ...]
    """Most deliveries first."""
    ages: tuple[timedelta, timedelta, timedelta]
    """Upper bounds of the first three columns of `DomainRow.by_age`."""


@dataclass(frozen=True, slots=True)
class Change:
    """What came of an operator's change."""

    changed: int
    active: int
    """Passed over because a worker has them in hand."""
    other: int
    """Passed over because their state does not allow it."""


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
