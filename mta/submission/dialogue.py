"""What one client has said so far, and what it is answered (RFC 5321 §4.1.4, RFC 6409). Pure: no octets, no waiting.

The connection reads commands, runs TLS, AUTH and DATA, and asks here whether they are in order. An account is looked at
again at each MAIL, since it may have changed since the client logged in.
"""

from collections.abc import Callable, Mapping

from mta.accounts.account import Account, Login
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.envelope import Envelope, Recipient
from mta.mail.reply import Reply
from mta.smtp.dialogue import Dialogue
from mta.smtp.settings import Kind
from mta.submission import rules
from mta.submission.gate import Suspended, may_begin
from mta.submission.parameters import MailArguments, parse_mail, parse_rcpt
from mta.submission.sasl import MECHANISMS
from mta.submission.settings import SubmissionSettings


class SubmissionDialogue(Dialogue):
    """The state of one session."""

    def __init__(
        self,
        settings: SubmissionSettings,
        kind: Kind,
        account: Callable[[str], Account | None],
        is_routed: Callable[[str], bool],
        suspended: Suspended,
    ) -> None:
        """`account`: the account of a name as it stands now; `is_routed`: whether a route names a domain."""
        super().__init__(settings.hostname, kind)
        self._settings = settings
        self._account = account
        self._is_routed = is_routed
        self._suspended = suspended
        self._mail: MailArguments | None = None
        self._recipients: dict[Mailbox, Recipient] = {}
        self.login: Login | None = None

    def secured(self) -> None:
        """TLS is up: the login is forgotten too."""
        super().secured()
        self.login = None

    def may_log_in(self) -> Reply | None:
        """AUTH (RFC 4954 §4): the refusal, or None."""
        if not self.client_name or not self._extended:
            return failures.NEED_EHLO
        if not self._may_see_passwords:
            return failures.TLS_REQUIRED
        if self.login is not None:
            return failures.ALREADY_AUTHENTICATED
        return failures.AUTH_IN_TRANSACTION if self._mail is not None else None

    def mail(self, argument: str) -> Reply:
        """MAIL (RFC 5321 §4.1.1.2)."""
        if not self.client_name:
            return failures.NEED_EHLO
        account = self._account(self.login.account.name) if self.login is not None else None
        if self.login is None or account is None:
            self.login = None
            return failures.AUTH_REQUIRED
        if self._mail is not None:
            return failures.NESTED_MAIL
        self.login = Login(account, self.login.fixed_stream)
        arguments = parse_mail(argument)
        if isinstance(arguments, Reply):
            return arguments
        refusal = (
            may_begin(self.login, self._suspended)
            or rules.fits(arguments.size, self._settings.max_message_size)
            or rules.may_send_from(account, arguments.reverse_path)
        )
        if refusal is not None:
            return refusal
        self._mail = arguments
        return failures.SENDER_OK

    def rcpt(self, argument: str) -> Recipient | Reply:
        """RCPT (RFC 5321 §4.1.1.3): the recipient to `add` unless it is suppressed, or the reply at once."""
        if self._mail is None:
            return failures.NEED_MAIL
        recipient = parse_rcpt(argument, utf8=self._mail.smtputf8)
        if isinstance(recipient, Reply):
            return recipient
        if recipient.mailbox in self._recipients:
            # named twice, it gets one copy
            return failures.RECIPIENT_OK
        refusal = rules.may_write_to(recipient.mailbox, self._is_routed) or rules.one_more(
            len(self._recipients), self._settings.max_recipients
        )
        return recipient if refusal is None else refusal

    def add(self, recipient: Recipient) -> Reply:
        """Take a recipient for good."""
        self._recipients[recipient.mailbox] = recipient
        return failures.RECIPIENT_OK

    def envelope(self) -> Envelope:
        """Return what MAIL and RCPT said; only when `may_send_content` had nothing against it.

        Raises:
            ValueError: there was no MAIL.
        """
        if self._mail is None:
            raise ValueError("no transaction is open")
        return Envelope(
            self._mail.reverse_path,
            tuple(self._recipients.values()),
            self._mail.body_type,
            smtputf8=self._mail.smtputf8,
            ret=self._mail.ret,
            envid=self._mail.envid,
        )

    def reset(self) -> None:
        """End the transaction (RFC 5321 §4.1.1.5)."""
        self._mail = None
        self._recipients = {}

    @property
    def _has_mail(self) -> bool:
        return self._mail is not None

    @property
    def _has_recipients(self) -> bool:
        return bool(self._recipients)

    @property
    def _may_see_passwords(self) -> bool:
        return self._encrypted or self._kind is Kind.PLAIN

    def _offers(self) -> Mapping[str, bool]:
        return {
            "PIPELINING": True,
            f"SIZE {self._settings.max_message_size}": True,
            "8BITMIME": True,
            "SMTPUTF8": True,
            "ENHANCEDSTATUSCODES": True,
            "DSN": True,
            "STARTTLS": self._offers_tls,
            f"AUTH {' '.join(MECHANISMS)}": self._may_see_passwords,
        }
