"""Every fact that the house announces. One record type for all, so that log, metrics and `mta why` read the same thing.

An event is written in the transaction that makes it true and shown to observers after the commit. It never holds a
body, a secret or a header.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field

from mta.mail.outcome import Try
from mta.mail.reply import Reply


class EventType(StrEnum):
    """The facts there are."""

    ACCEPTED = "accepted"
    """A message is on stable storage and its client hears 250."""
    DELIVERED = "delivered"
    """A host took responsibility for a delivery."""
    DEFERRED = "deferred"
    """An attempt failed for now."""
    BOUNCED = "bounced"
    """A delivery failed for good."""
    EXPIRED = "expired"
    """A delivery was given up after its time."""
    SUPPRESSED = "suppressed"
    """A delivery was not sent: its recipient is on the suppression list."""
    HELD = "held"
    """A delivery waits for an operator."""
    RELEASED = "released"
    """A held delivery is queued again."""
    CANCELLED = "cancelled"
    """An operator ended a delivery."""
    DELAYED_NOTICE = "delayed_notice"
    """The submitter was told that a delivery is late."""
    COMPLAINED = "complained"
    """The recipient of a delivery called it spam."""
    WARNED = "warned"
    """The ratios of an account's stream come near their limits."""
    SUSPENDED = "suspended"
    """An account's stream may not send."""
    REINSTATED = "reinstated"
    """It may send again."""
    ACCOUNT_CHANGED = "account_changed"
    """An account was added or its password changed."""
    SUPPRESSION_ADDED = "suppression_added"
    """An address was put on an account's suppression list."""
    SUPPRESSION_REMOVED = "suppression_removed"
    """It was taken off."""
    BREAKER_OPEN = "breaker_open"
    """Hard bounces at a site leave their usual ratio by far: they suppress nobody for now."""


class Event(Struct, frozen=True):
    """One fact. What does not apply is None."""

    id: str
    at: datetime
    type: EventType
    account: str | None = None
    stream: str | None = None
    tag: str | None = None
    message_id: str | None = None
    """The header field's value, angle brackets included."""
    queue_id: str | None = None
    delivery_id: str | None = None
    recipient: str | None = None
    site: str | None = None
    source: str | None = None
    attempt: int | None = None
    reply: Reply | None = None
    klass: str | None = None
    """The reason of the bounce vocabulary; JSON calls it `class`."""
    hardness: str | None = None
    """`hard` when the address is to blame for a failure, else `soft`."""
    tries: tuple[Try, ...] = ()
    """Every host of the attempt with what it said; the last one gives the event's TLS."""
    duration: timedelta | None = None
    metadata: str | None = None
    """The client's own JSON, as it came."""
    detail: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """What one type alone has: sizes, reasons, who did it."""


class Observer(Protocol):
    """Somebody who is told of events after their commit. Must not block and must not raise."""

    def observe(self, event: Event) -> None:
        """Take note."""
        ...
