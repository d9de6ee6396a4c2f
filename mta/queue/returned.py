"""What came back about a delivery, on its way into the store: a late bounce, a complaint, or a note of a report."""

from dataclasses import dataclass
from datetime import datetime

from msgspec import Struct

from mta.events import Event
from mta.queue.model import Delivery, Message
from mta.reputation.suppression import Suppression


@dataclass(frozen=True, slots=True)
class Filed:
    """A delivery as the store has it, whatever its state, with its message."""

    message: Message
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Member:
    """One of the deliveries that share a return path."""

    delivery_id: str
    recipient: str
    """The mailbox as it was accepted."""


class ReturnNote(Struct, frozen=True):
    """One report, for the list of what came back. At most one of each kind is kept for a delivery."""

    id: str
    at: datetime
    kind: str
    """The corpus's word: `bounce`, `delayed`, `complaint`, `autoreply` …; `postmaster` and `abuse` for letters."""
    delivery_id: str | None = None
    queue_id: str | None = None
    account: str | None = None
    stream: str | None = None
    recipient: str | None = None
    reason: str | None = None
    hardness: str | None = None
    text: str = ""
    """The diagnostic, or a letter's subject; bounded and clean."""
    effect: str = ""
    """`applied`, `repeated`, `unknown delivery`, `noted`, `rejected`, `kept`."""
    octets: bytes | None = None
    """The whole letter, for postmaster and abuse."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """A complaint that is proved to be about a delivery of ours."""

    delivery_id: str
    event: Event
    """`complained`."""
    suppression: Suppression
    on_suppressing: Event
    """Written only if the suppression is new."""
