"""Who is not written to any more: entries of the list, and when one stands in the way of a delivery.

Where the list is kept, and that it is asked at RCPT and again before each attempt, is left to others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from mta.mail.address import Mailbox


class Cause(StrEnum):
    """Why an address is on the list."""

    HARD_BOUNCE = "hard_bounce"
    """The address or its domain does not exist: a host said so, at delivery or in a report."""
    SOFT_BOUNCE = "soft_bounce"
    """It failed too often without a success in between."""
    COMPLAINT = "complaint"
    """Its owner called our mail spam."""
    UNSUBSCRIBE = "unsubscribe"
    """Its owner left."""
    MANUAL = "manual"
    """An operator put it there."""


class Origin(StrEnum):
    """How we came to know."""

    DELIVERY = "delivery"
    REPORT = "report"
    FEEDBACK = "feedback"
    OPERATOR = "operator"


class Suppression(Struct, frozen=True):
    """One address on one account's list. It holds for all streams of the account."""

    account: str
    address: Mailbox
    """Compared exactly, but for the domain's case (RFC 5321 §2.4)."""
    cause: Cause
    origin: Origin
    at: datetime
    expires_at: datetime | None = None
    """None: it stays."""
    detail: str = ""
    """The reply or the report that proves it, or the operator's words."""
    delivery_id: str | None = None

    def holds(self, now: datetime) -> bool:
        """Whether the address is not to be written to."""
        return self.expires_at is None or now < self.expires_at

    def __str__(self) -> str:
        """What a client is told at RCPT."""
        why = {
            Cause.HARD_BOUNCE: "it bounced",
            Cause.SOFT_BOUNCE: "it bounced too often",
            Cause.COMPLAINT: "its owner complained",
            Cause.UNSUBSCRIBE: "its owner unsubscribed",
            Cause.MANUAL: "an operator suppressed it",
        }[self.cause]
        said = f" ({self.detail})" if self.detail and self.cause is Cause.HARD_BOUNCE else ""
        return f"{why} on {self.at:%Y-%m-%d}{said}"


@dataclass(frozen=True, slots=True)
class Expiry:
    """How long each cause keeps an address on the list; None is for ever."""

    spans: Mapping[Cause, timedelta | None]

    def of(self, cause: Cause, at: datetime) -> datetime | None:
        """Return when an entry made now ends."""
        span = self.spans.get(cause)
        return None if span is None else at + span


class List(Protocol):
    """Where suppressions are kept."""

    async def find(self, account: str, address: Mailbox) -> Suppression | None:
        """Return the entry that holds now; None when the address may be written to.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...
