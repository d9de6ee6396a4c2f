"""What came back, as values: the vocabulary of kinds and reasons, and what one report says about whom.

How a report is read is `reading`'s business, what a refusal means is `classify`'s. That a report is genuine and what it
changes is decided elsewhere: everything in these values was written by a stranger.
"""

from enum import StrEnum

from msgspec import Struct

from mta.mail.header import Header
from mta.mail.reply import EnhancedStatus


class Kind(StrEnum):
    """What a message that came back is."""

    BOUNCE = "bounce"
    """At least one recipient failed."""
    DELAYED = "delayed"
    """Nothing failed; at least one recipient is still being tried."""
    COMPLAINT = "complaint"
    AUTOREPLY = "autoreply"
    DELIVERED = "delivered"
    """Nothing but success."""
    UNSUBSCRIBE = "unsubscribe"
    OTHER = "other"


class Hardness(StrEnum):
    """Whether the address is to blame. Nothing to do with the first digit of a reply."""

    HARD = "hard"
    """The address or its domain does not exist, or never takes mail."""
    SOFT = "soft"


class Reason(StrEnum):
    """Why a recipient failed."""

    BAD_MAILBOX = "bad_mailbox"
    DISABLED_MAILBOX = "disabled_mailbox"
    MAILBOX_FULL = "mailbox_full"
    BAD_DOMAIN = "bad_domain"
    MESSAGE_TOO_BIG = "message_too_big"
    SPAM = "spam"
    CONTENT = "content"
    REPUTATION = "reputation"
    AUTH = "auth"
    POLICY = "policy"
    RELAY_DENIED = "relay_denied"
    RATE_LIMITED = "rate_limited"
    GREYLISTED = "greylisted"
    EXPIRED = "expired"
    NETWORK = "network"
    SYSTEM = "system"
    PROTOCOL = "protocol"


class Action(StrEnum):
    """What became of one recipient (RFC 3464 §2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


class Classification(Struct, frozen=True):
    """What a refusal means. Both None: no rule knows it."""

    reason: Reason | None = None
    hardness: Hardness | None = None


UNKNOWN = Classification()


class ReportedRecipient(Struct, frozen=True):
    """One recipient of ours, as a report names it."""

    address: str
    """As written in the report, without angle brackets; domain and local part are not validated."""
    action: Action | None = None
    status: EnhancedStatus | None = None
    smtp_code: int | None = None
    classification: Classification = UNKNOWN
    diagnostic: str = ""
    """The words of the refusal, without control characters, cut."""
    remote_mta: str | None = None


class Feedback(Struct, frozen=True):
    """What a feedback report says of itself (RFC 5965 §3); None where it says nothing."""

    feedback_type: str
    user_agent: str | None = None
    source_ip: str | None = None
    reported_domain: str | None = None
    original_mail_from: str | None = None


NO_HEADER = Header(())


class Report(Struct, frozen=True):
    """One message that came back."""

    kind: Kind
    recipients: tuple[ReportedRecipient, ...] = ()
    """Who failed, is late or complained; for `delivered`, who got it."""
    reason: str | None = None
    """Of a complaint its Feedback-Type; of an autoreply `vacation`, `ack`, `left` or `challenge`."""
    original_message_id: str | None = None
    envelope_id: str | None = None
    """Original-Envelope-Id (RFC 3464 §2.2.1)."""
    feedback: Feedback | None = None
    returned: Header = NO_HEADER
    """The header of the message of ours that came back with it, as far as it did."""
    note: str | None = None
    """Why nothing could be read, for the operator."""
