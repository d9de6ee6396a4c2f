"""What came of one connection, and what that means for the delivery: the rules, apart from all speaking."""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from mta.delivery.replies import told
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_report import PolicyType
from mta.mail import failures
from mta.mail.reply import Reply

CLOSING = 421
"""The host goes away; may come at any time (RFC 5321 §3.8)."""


class Stage(StrEnum):
    """How far a connection got."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class Verdict(Struct, frozen=True):
    """How far one connection got, and the reply that decided."""

    stage: Stage
    reply: Reply
    remote: bool = False
    """Whether the reply is the host's; else it is ours, about it."""
    in_doubt: bool = False
    """The dot was sent, its reply is missing."""
    plaintext_may_work: bool = False
    """TLS is broken there, and nothing suggests an attack."""
    failure: TlsFailure | None = None
    """What is wrong with the host's TLS, when that decided."""
    failed: PolicyType | None = None
    """The one policy that the host's certificate does not meet; None: any that wants TLS."""
    unfit: bool = False
    """The host and we have no TLS in common, or a policy rules it out: that will not mend itself in a moment."""

    @property
    def lacks_tls(self) -> bool:
        """Whether it is certain that the host does not prove itself under TLS, rather than that it is in trouble."""
        if self.failure is TlsFailure.STARTTLS_NOT_SUPPORTED:
            return not self.remote or self.reply.is_permanent
        return self.unfit or self.failed is not None

    def for_requiretls(self) -> "Verdict":
        """Return what it means for a message that requires TLS: what is certain is no reason to wait (RFC 8689 §4.2.1).

        A certificate that was found bad, no common version, no STARTTLS: all of that is "encryption needed".
        """
        if not self.lacks_tls:
            return self
        why = str(self.reply) if self.remote else self.reply.text
        return replace(self, reply=told(failures.ENCRYPTION_NEEDED, why), remote=False)


class Refused(Exception):
    """A conversation ended before its time. Never leaves this package."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict.reply))
        self.verdict = verdict


class Decision(StrEnum):
    """What follows for the delivery."""

    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DEFERRED = "deferred"
    NEXT_HOST = "next host"


_ABOUT_US = frozenset({Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH})
_HARMLESS = frozenset({Stage.MAIL, Stage.RCPT})
_REQUIRETLS = frozenset({failures.NO_REQUIRETLS.status, failures.ENCRYPTION_NEEDED.status})


def decide(verdict: Verdict) -> Decision:
    """Decide by stage and reply.

    A refusal before MAIL is about us or the host, not about the recipient. A connection lost, or closed by 421, before
    the recipient was answered for says nothing about it either. From RCPT's reply on no other host is asked: it would
    say the same, or worse, take what the first one has taken.
    """
    if verdict.in_doubt:
        return Decision.DEFERRED
    if verdict.stage in _ABOUT_US:
        return Decision.NEXT_HOST
    lost = not verdict.remote and verdict.reply.is_transient
    if verdict.stage in _HARMLESS and (lost or verdict.reply.code == CLOSING):
        return Decision.NEXT_HOST
    if verdict.reply.is_permanent:
        return Decision.BOUNCED
    if verdict.stage is Stage.DOT and verdict.remote and verdict.reply.is_positive:
        return Decision.DELIVERED
    return Decision.DEFERRED


def is_requiretls(reply: Reply) -> bool:
    """Whether a reply of ours says that a host cannot have a message that requires TLS."""
    return reply.status in _REQUIRETLS
