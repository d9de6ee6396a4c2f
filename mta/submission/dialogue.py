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
from mta.submission import rules
from mta.submission.parameters import MailArguments, parse_mail, parse_rcpt
from mta.submission.sasl import MECHANISMS
from mta.submission.settings import Kind, SubmissionSettings

_MAX_CLIENT_NAME = 255


class Dialogue:
    """The state of one session."""

    def __init__(
        self,
        settings: SubmissionSettings,
        kind: Kind,
        account: Callable[[str], Account | None],
        is_routed: Callable[[str], bool],
    ) -> None:
        """`account`: the account of a name as it stands now; `is_routed`: whether a route names a domain."""
        self._settings = settings
        self._kind = kind
        self._account = account
        self._is_routed = is_routed
        self._encrypted = False
        self._extended = False
        self._mail: MailArguments | None = None
        self._recipients: dict[Mailbox, Recipient] = {}
        self.client_name = ""
        """What the client calls itself; empty before HELO and EHLO."""
        self.login: Login | None = None

    def hello(self, argument: str, *, extended: bool) -> Reply:
        """HELO and EHLO (RFC 5321 §4.1.1.1). Ends a transaction, but not the login."""
        if not argument or " " in argument or len(argument) > _MAX_CLIENT_NAME:
            return failures.BAD_SYNTAX
        self.reset()
        self.client_name = argument
        self._extended = extended
        lines = [self._settings.hostname, *(self._offers() if extended else ())]
        return Reply(250, None, "\n".join(lines))

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
        refusal = rules.fits(arguments.size, self._settings.max_message_size) or rules.may_send_from(
            account, arguments.reverse_path
        )
        if refusal is not None:
            return refusal
        self._mail = arguments
        return failures.SENDER_OK

    def rcpt(self, argument: str) -> Reply:
        """RCPT (RFC 5321 §4.1.1.3). A recipient named twice gets one copy."""
        if self._mail is None:
            return failures.NEED_MAIL
        recipient = parse_rcpt(argument, utf8=self._mail.smtputf8)
        if isinstance(recipient, Reply):
            return recipient
        if recipient.mailbox in self._recipients:
            return failures.RECIPIENT_OK
        refusal = rules.may_write_to(recipient.mailbox, self._is_routed) or rules.one_more(
            len(self._recipients), self._settings.max_recipients
        )
        if refusal is not None:
            return refusal
        self._recipients[recipient.mailbox] = recipient
        return failures.RECIPIENT_OK

    def may_send_content(self, argument: str) -> Reply | None:
        """DATA (RFC 5321 §4.1.1.4): the refusal, or None."""
        if argument:
            return failures.BAD_SYNTAX
        if self._mail is None:
            return failures.NEED_MAIL
        return None if self._recipients else failures.NEED_RCPT

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
    def _may_see_passwords(self) -> bool:
        return self._encrypted or self._kind is Kind.PLAIN

    def _offers(self) -> tuple[str, ...]:
        """What works, and nothing else."""
        offers: Mapping[str, bool] = {
            "PIPELINING": True,
            f"SIZE {self._settings.max_message_size}": True,
            "8BITMIME": True,
            "SMTPUTF8": True,
            "ENHANCEDSTATUSCODES": True,
            "DSN": True,
            "STARTTLS": self._kind is Kind.STARTTLS and not self._encrypted,
            f"AUTH {' '.join(MECHANISMS)}": self._may_see_passwords,
        }
        return tuple(offer for offer, holds in offers.items() if holds)
