"""What one host that brings something back has said so far, and what it is answered. Pure: no octets, no waiting."""

from collections.abc import Mapping

from mta.inbound.parameters import MailArguments, parse_mail, parse_rcpt
from mta.inbound.rules import Addressee, Doorman
from mta.inbound.settings import InboundSettings
from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.dialogue import Dialogue
from mta.smtp.settings import Kind


class InboundDialogue(Dialogue):
    """The state of one session."""

    def __init__(self, settings: InboundSettings, kind: Kind, doorman: Doorman) -> None:
        super().__init__(settings.hostname, kind)
        self._settings = settings
        self._doorman = doorman
        self._mail: MailArguments | None = None
        # in the order they came, each once: a dict keeps both
        self._addressees: dict[Addressee, None] = {}

    def mail(self, argument: str) -> Reply:
        """MAIL (RFC 5321 §4.1.1.2). The null reverse-path is what most say here."""
        if not self.client_name:
            return failures.NEED_EHLO
        if self._mail is not None:
            return failures.NESTED_MAIL
        arguments = parse_mail(argument)
        if isinstance(arguments, Reply):
            return arguments
        if arguments.size > self._settings.max_message_size:
            return failures.TOO_LARGE
        self._mail = arguments
        return failures.SENDER_OK

    def rcpt(self, argument: str) -> Reply:
        """RCPT (RFC 5321 §4.1.1.3). Who is not ours is refused here: nothing is accepted and bounced later."""
        if self._mail is None:
            return failures.NEED_MAIL
        path = parse_rcpt(argument)
        if isinstance(path, Reply):
            return path
        addressee = self._doorman.admit(path, utf8=self._mail.smtputf8)
        if isinstance(addressee, Reply):
            return addressee
        if addressee not in self._addressees and len(self._addressees) >= self._settings.max_recipients:
            return failures.TOO_MANY_RECIPIENTS
        self._addressees[addressee] = None
        return failures.RECIPIENT_OK

    @property
    def reverse_path(self) -> str:
        """What MAIL said, without brackets; empty for the null one.

        Raises:
            ValueError: there was no MAIL.
        """
        if self._mail is None:
            raise ValueError("no transaction is open")
        return self._mail.reverse_path

    @property
    def addressees(self) -> tuple[Addressee, ...]:
        """Whom RCPT named, in order, each once."""
        return tuple(self._addressees)

    def reset(self) -> None:
        """End the transaction (RFC 5321 §4.1.1.5)."""
        self._mail = None
        self._addressees = {}

    @property
    def _has_mail(self) -> bool:
        return self._mail is not None

    @property
    def _has_recipients(self) -> bool:
        return bool(self._addressees)

    def _offers(self) -> Mapping[str, bool]:
        return {
            "PIPELINING": True,
            f"SIZE {self._settings.max_message_size}": True,
            "8BITMIME": True,
            "SMTPUTF8": True,
            "ENHANCEDSTATUSCODES": True,
            "STARTTLS": self._offers_tls,
        }
