"""The queue's nouns and the moves a delivery may make.

Guarantees, state by state, and what a crash in each costs:

- `queued`: on stable storage, due at a time by the store's clock. A crash costs nothing.
- `active`: leased by one worker for a while. A crash costs the rest of the lease; the attempt under way may be repeated
  only if its final dot was sent (RFC 1047).
- `held`: waits for an operator. Time held does not count as age.
- `delivered`, `bounced`, `expired`, `suppressed`, `cancelled`: final. The body goes when the last delivery is final.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field

from mta.accounts.allowance import Terms
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import BodyType, Recipient, Return
from mta.mail.reply import Reply
from mta.mail.token import is_shared
from mta.reputation.suppression import Suppression


class State(StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    ACTIVE = "active"
    HELD = "held"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing will be attempted any more."""
        return self not in (State.QUEUED, State.ACTIVE, State.HELD)


MOVES: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.ACTIVE, State.HELD, State.CANCELLED, State.EXPIRED, State.SUPPRESSED}),
    State.ACTIVE: frozenset(
        {
            State.QUEUED,
            State.HELD,
            State.DELIVERED,
            State.BOUNCED,
            State.EXPIRED,
            State.SUPPRESSED,
            State.CANCELLED,
        }
    ),
    State.HELD: frozenset({State.QUEUED, State.CANCELLED}),
    # a report that comes later
    State.DELIVERED: frozenset({State.BOUNCED}),
    State.BOUNCED: frozenset(),
    State.EXPIRED: frozenset(),
    State.SUPPRESSED: frozenset(),
    State.CANCELLED: frozenset(),
}
"""From each state, the states that may follow. The store refuses every other move."""


class Stream(StrEnum):
    """What kind of mail it is."""

    TRANSACTIONAL = "transactional"
    BULK = "bulk"


class Message(Struct, frozen=True):
    """Everything about an accepted message but its octets."""

    id: str
    """The queue id that the client is told."""
    accepted_at: datetime
    account: str
    stream: Stream
    reverse_path: ReversePath
    from_domain: str
    """The domain of the From field, which DKIM must align with."""
    message_id: str
    """The Message-ID field's value, angle brackets included."""
    size: int
    """Octets of header, blank line and body."""
    checksum: bytes
    """SHA-256 of header, blank line and body."""
    body_hash: bytes
    """SHA-256 of the relaxed canonical body (RFC 6376 §3.4.4), made once, used by every signature."""
    topic: str | None = None
    tag: str | None = None
    pool: str | None = None
    metadata: str | None = None
    body_type: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    requiretls: bool = False
    ret: Return | None = None
    envid: str | None = None
    release_at: datetime | None = None
    """Not before this time; age counts from it (RFC 4865)."""
    expires_at: datetime | None = None
    """Given up at this time, whatever the schedule says."""


class Delivery(Struct, frozen=True):
    """One message to one recipient."""

    id: str
    message_id: str
    """The queue id of its message."""
    recipient: Recipient
    state: State
    due_at: datetime
    return_path: Mailbox | None
    """The same in every attempt, and its own, unless it may go in a batch: then it is shared with the others of that.
    None for mail from the null reverse-path."""
    attempts: int = 0
    site: str | None = None
    source: str | None = None
    hold_reason: str | None = None
    held_for: timedelta = timedelta(0)
    """Time spent held so far, which does not count as age."""
    delay_noticed: bool = False
    last_reply: Reply | None = None
    """What was said in the last attempt."""
    last_host: str | None = None
    """The host that said it; None when it was ourselves."""

    @property
    def domain(self) -> str:
        """The recipient's domain, A-labels."""
        return self.recipient.mailbox.domain

    @property
    def is_shared(self) -> bool:
        """Whether it may go in one transaction with others that have the same return path."""
        return self.return_path is not None and is_shared(self.return_path.local_part)


class Content(Struct, frozen=True):
    """A message's octets: the header section without the blank line behind it, and the body in pieces."""

    header: bytes
    """Each field ends in CRLF."""
    body: tuple[bytes, ...]
    """Pieces of at most `PIECE` octets."""

    PIECE = 256 * 1024


class NewMessage(Struct, frozen=True):
    """A message on its way into the store."""

    message: Message
    deliveries: tuple[Delivery, ...]
    content: Content
    client: Mapping[str, str | int | bool] = field(default_factory=dict)
    """How it came (protocol, TLS, the client's name): goes into the `accepted` event only."""
    terms: Terms | None = None
    """What its acceptance is subject to; None: nothing, as for what we write ourselves."""


class Claimed(Struct, frozen=True):
    """A delivery leased to this worker, with its message."""

    message: Message
    delivery: Delivery
    lease_until: datetime
    content: Content | None = None
    """At hand for a message accepted a moment ago; else the store has it."""
    suppressed: Suppression | None = None
    """The entry of the account's list that stands in the way, looked at when the lease was taken."""


class PauseScope(StrEnum):
    """What a pause is about."""

    ALL = "all"
    ACCOUNT = "account"
    STREAM = "stream"
    SITE = "site"


class Pause(Struct, frozen=True):
    """An operator's word that something is not to be delivered for now. What is accepted meanwhile waits."""

    id: str
    scope: PauseScope
    value: str
    """The account, stream or site; empty when everything is paused."""
    reason: str
    who: str
    at: datetime


_DOMAIN = "domain "


class SiteRest(Struct, frozen=True):
    """A site that is left alone for a while, because attempts there fail for reasons that are not one mail's. Or a
    domain that cannot be looked up, so that nobody knows its site."""

    site: str
    """Its name, or `unreachable_name` of the domain."""
    until: datetime
    failures: int
    """How many attempts failed one after the other."""
    reason: str
    """What was said, or seen, last."""

    @property
    def domain(self) -> str | None:
        """The domain that cannot be looked up; None: it is a site that rests."""
        return self.site.removeprefix(_DOMAIN) if self.site.startswith(_DOMAIN) else None


def unreachable_name(domain: str) -> str:
    """Return what stands for the site of a domain that cannot be looked up. No site is called so, not even that of a
    domain that is its own host: in a host's name there is no space, and a socket's path begins with a slash."""
    return _DOMAIN + domain


class Dispatchable(Protocol):
    """Where the acceptor hands over what it committed with a lease."""

    def places(self, message: Message, domains: Sequence[str], promised: int = 0) -> int:
        """Return how many of a message's first deliveries may be leased at acceptance, given their domains in order.

        `promised` were leased for other messages and are not handed over yet.
        """
        ...

    def hand_over(self, claimed: Sequence[Claimed]) -> None:
        """Take leased deliveries; each of them will be attempted or released."""
        ...

    def wake(self, message: Message | None = None) -> None:
        """Something became due in the store: deliveries of a message, if one is given."""
        ...
