"""What one attempt meant for one recipient, as a value: delivered, deferred or bounced.

What a remote host does is never an exception outside the delivery package.
"""

from datetime import timedelta

from msgspec import Struct, field

from mta.mail.reply import Reply


class TlsUse(Struct, frozen=True):
    """The TLS of one connection: its version, cipher, and the policy it met. Also that there was none, and why."""

    version: str
    """Empty: the connection was not encrypted."""
    cipher: str
    policy: str = "opportunistic"
    """Which policy decided what was demanded."""
    verified: bool = False
    """The host proved its name, or its certificate, as the policy demanded."""
    proof: str = ""
    """By what: the certificate's name, the TLSA record."""
    offered: str = ""
    """The extensions that the host offered last, and `STARTTLS` if it offered that before, a blank between each."""

    @property
    def is_used(self) -> bool:
        """Whether the connection was encrypted."""
        return bool(self.version)


class Try(Struct, frozen=True):
    """One host tried in an attempt: how far it went and what it said."""

    host: str
    address: str
    port: int
    stage: str
    """`connect`, `greeting`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `dot`."""
    reply: Reply
    remote: bool
    """Whether the reply is the host's own; else it is ours, about it (a time limit, a lost connection)."""
    tls: TlsUse | None = None
    """None: the conversation did not come that far."""
    duration: timedelta = timedelta(0)


class Delivered(Struct, frozen=True):
    """A host took responsibility (RFC 5321 §6.1)."""

    reply: Reply
    tries: tuple[Try, ...] = field(default=())
    will_notify: bool = False
    """It took over our duty to tell the sender, too: it offers DSN (RFC 3461 §5.2.1)."""


class Deferred(Struct, frozen=True):
    """Not now: to be tried again."""

    reply: Reply
    tries: tuple[Try, ...] = field(default=())
    in_doubt: bool = False
    """The final dot was sent and its reply did not arrive (RFC 1047)."""


class Bounced(Struct, frozen=True):
    """Never in this form."""

    reply: Reply
    tries: tuple[Try, ...] = field(default=())


Outcome = Delivered | Deferred | Bounced
