"""The order of commands that every listener keeps (RFC 5321 §4.1.4). Pure: no octets, no waiting.

What MAIL and RCPT may say, and who may say it, is each door's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.settings import Kind

_MAX_CLIENT_NAME = 255


class Dialogue(ABC):
    """What one client has said so far, and what it is answered."""

    def __init__(self, hostname: str, kind: Kind) -> None:
        self._hostname = hostname
        self._kind = kind
        self._encrypted = False
        self._extended = False
        self.client_name = ""
        """What the client calls itself; empty before HELO and EHLO."""

    def hello(self, argument: str, *, extended: bool) -> Reply:
        """HELO and EHLO (RFC 5321 §4.1.1.1). Ends a transaction, but not a login."""
        if not argument or " " in argument or len(argument) > _MAX_CLIENT_NAME:
            return failures.BAD_SYNTAX
        self.reset()
        self.client_name = argument
        self._extended = extended
        offers = [offer for offer, holds in self._offers().items() if holds] if extended else []
        return Reply(250, None, "\n".join([self._hostname, *offers]))

    def may_start_tls(self, argument: str) -> Reply | None:
        """STARTTLS (RFC 3207 §4): the refusal, or None."""
        if argument:
            return failures.BAD_SYNTAX
        if self._encrypted:
            return failures.TLS_ACTIVE
        return None if self._kind is Kind.STARTTLS else failures.NOT_IMPLEMENTED

    def secured(self) -> None:
        """TLS is up: whatever was said before is forgotten (RFC 3207 §4.2)."""
        self.reset()
        self._encrypted = True
        self._extended = False
        self.client_name = ""

    def may_send_content(self, argument: str) -> Reply | None:
        """DATA (RFC 5321 §4.1.1.4): the refusal, or None."""
        if argument:
            return failures.BAD_SYNTAX
        if not self._has_mail:
            return failures.NEED_MAIL
        return None if self._has_recipients else failures.NEED_RCPT

    @property
    def is_open(self) -> bool:
        """Whether a transaction is open."""
        return self._has_mail

    @property
    def takes_chunks(self) -> bool:
        """Whether BDAT is among what is offered (RFC 3030 §2)."""
        return self._offers().get("CHUNKING", False)

    @abstractmethod
    def reset(self) -> None:
        """End the transaction (RFC 5321 §4.1.1.5)."""

    @property
    @abstractmethod
    def _has_mail(self) -> bool:
        """Whether a transaction is open."""

    @property
    @abstractmethod
    def _has_recipients(self) -> bool:
        """Whether a recipient was taken."""

    @property
    def _offers_tls(self) -> bool:
        return self._kind is Kind.STARTTLS and not self._encrypted

    @abstractmethod
    def _offers(self) -> Mapping[str, bool]:
        """Return EHLO's lines in their order, each with whether it holds now: what works, and nothing else."""
