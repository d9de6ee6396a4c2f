"""What a hostile dialogue is: octets that are said, replies that are heard, and the queue after it.

The tables beside this file hold nothing else; `stage` plays them against a server.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

SENDER, RECIPIENT = "app@example.com", "b@example.net"


class Door(StrEnum):
    """Which listener is spoken to."""

    STARTTLS = "submission"
    TLS = "submission_tls"
    PLAIN = "submission_plain"


class End(Enum):
    """How client and server part."""

    IN_STEP = "NOOP and QUIT hear one reply each, and nothing else comes"
    CLOSED = "the server has closed, and has said nothing else"
    LEFT = "the client has gone"


class Act(Enum):
    """What a client does beside talking."""

    HANDSHAKE = "begin TLS"
    HALF_CLOSE = "say that nothing will follow, and listen on"
    CLOSE = "close"
    RESET = "cut the connection"


@dataclass(frozen=True, slots=True)
class Say:
    """Octets, and how each reply to them begins."""

    octets: bytes
    replies: tuple[str, ...]


Step = Say | Act


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile dialogue."""

    name: str
    rfc: str
    """What rules the reply."""
    steps: tuple[Step, ...]
    queued: tuple[str, ...] = ()
    """The recipients of the deliveries that are in the queue after it and were not before."""
    end: End = End.IN_STEP
    door: Door = Door.PLAIN


# stand for what is known once there is a server
PLAIN, WRONG, OTHER = "@plain@", "@wrong@", "@other@"
"""An answer of PLAIN that is right; with a wrong password; right, but to act as somebody else."""
LOGIN, PASSWORD = "@login@", "@password@"
"""The answers of LOGIN."""


def say(text: str | bytes, *replies: str) -> Say:
    """Return a step: a command without its CRLF, or octets as they are; and how each reply to them begins."""
    octets = text if isinstance(text, bytes) else f"{text}\r\n".encode("utf-8", "surrogateescape")
    return Say(octets, replies)


GREETING = say(b"", "220 mail.example.com ")
SECURED = (Act.HANDSHAKE, GREETING)
"""How a dialogue with a listener begins that speaks TLS from the first octet; others begin after the greeting."""
EHLO = say("EHLO client.example.net", "250-mail.example.com")
AUTH = say(f"AUTH PLAIN {PLAIN}", "235 2.7.0")
MAIL = say(f"MAIL FROM:<{SENDER}>", "250 2.1.0")
RCPT = say(f"RCPT TO:<{RECIPIENT}>", "250 2.1.5")
DATA = say("DATA", "354 ")
RSET = say("RSET", "250 2.0.0")
NOOP = say("NOOP", "250 2.0.0")
STARTTLS = say("STARTTLS", "220 2.0.0")
IN = (EHLO, AUTH)
"""Logged in."""
OPEN = (*IN, MAIL, RCPT)
"""A transaction with a recipient."""
HEADER = f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: A test\r\n".encode()
MESSAGE = HEADER + b"\r\nGood morning.\r\n"
ACCEPTED = "250 2.0.0 Ok: queued as "
