"""The envelope of a message: reverse-path, recipients, and what a client said of them (RFC 5321 §3.3, RFC 3461 §4)."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from mta.mail.address import Mailbox, ReversePath


class BodyType(StrEnum):
    """What the BODY parameter of MAIL says of the content (RFC 6152 §2, RFC 3030 §3)."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"
    BINARY = "BINARYMIME"


class Notify(StrEnum):
    """When a recipient's fate is reported (RFC 3461 §4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class Return(StrEnum):
    """How much of the message a failure notification carries (RFC 3461 §4.3)."""

    FULL = "FULL"
    HEADERS = "HDRS"


DEFAULT_NOTIFY = frozenset({Notify.FAILURE, Notify.DELAY})
"""What a client hears of that said nothing (RFC 3461 §4.1 leaves delays to us)."""


class Recipient(Struct, frozen=True):
    """One forward-path with its DSN parameters."""

    mailbox: Mailbox
    notify: frozenset[Notify] = DEFAULT_NOTIFY
    orcpt: str | None = None
    """Original recipient as `type;address`, xtext decoded (RFC 3461 §4.2)."""


class Envelope(Struct, frozen=True):
    """What MAIL and RCPT said."""

    reverse_path: ReversePath
    recipients: tuple[Recipient, ...]
    body_type: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    requiretls: bool = False
    """Only hosts that prove who they are under TLS may have it (RFC 8689 §2)."""
    ret: Return | None = None
    envid: str | None = None
    """Envelope identifier, xtext decoded (RFC 3461 §4.4)."""
    release_at: datetime | None = None
    """Not to be sent before this time (RFC 4865 §3)."""
