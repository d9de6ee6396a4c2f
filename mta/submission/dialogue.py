"""What one client has said so far, and what it is answered (RFC 5321 §4.1.4, RFC 6409). Pure: no octets, no waiting.

The connection reads commands, runs TLS, AUTH and DATA, and asks here whether they are in order. An account is looked at
again at each MAIL, since it may have changed since the client logged in.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

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
from mta.submission.settings import SubmissionSettings


@dataclass(frozen=True, slots=True)
class World:
    """What a dialogue asks of what is around it, each time anew."""

    account: Callable[[str], Account | None]
    """The account of a name as it stands now."""
    is_routed: Callable[[str], bool]
    """Whether a route names a domain."""
    suspended: Suspended
    now: Callable[[], datetime]
    mechanisms: Callable[[], Iterable[str]]
    """The names of AUTH's mechanisms that this client is offered."""


class SubmissionDialogue(Dialogue):
    """The state of one session."""

    def __init__(self, settings: SubmissionSettings, kind: Kind, world: World) -> None:
        super().__init__(settings.hostname, kind)
        self._settings = settings
        self._world = world
        self._max_hold = rules.max_hold(settings.max_hold)
        self._mail: MailArguments | None = None
        self._sender: Login | None = None
        self._release_at: datetime | None = None
        self._left: int | None = None
        self._recipients: dict[Mailbox, Recipient] = {}
        self.login: Login | None = None
        """Who the client has proved to be."""
        self.trusted: Login | None = None
        """As whom it may send without proof, because of where it is."""

    @property
    def acting(self) -> Login | None:
        """As whom the client sends."""
        return self.login or self.trusted

    @property
    def extended(self) -> bool:
        """Whether the client said EHLO."""
        return self._extended

    @property
    def max_message_size(self) -> int:
        """Octets that a content may have."""
        account = self._limited
        return rules.least(self._settings.max_message_size, account.max_message_size if account else None)

    @property
    def max_recipients(self) -> int:
        """Recipients that a message may have."""
        account = self._limited
        return rules.least(self._settings.max_recipients, account.max_recipients if account else None)

    def hello(self, argument: str, *, extended: bool) -> Reply:
        """HELO and EHLO (RFC 5321 §4.1.1.1): limits are announced as they are now."""
        self._look_again()
        return super().hello(argument, extended=extended)

    def secured(self) -> None:
        """TLS is up: the login is forgotten too."""
        super().secured()
        self.login = self.trusted = None

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
        if self._mail is not None:
            return failures.NESTED_MAIL
        self._look_again()
        acting = self.acting
        if acting is None:
            return failures.AUTH_REQUIRED
        arguments = parse_mail(argument, requiretls=self._offers_requiretls)
        if isinstance(arguments, Reply):
            return arguments
        refusal = (
            may_begin(acting, self._world.suspended)
            or rules.fits(arguments.size, self.max_message_size)
            or rules.may_send_from(acting.account, arguments.reverse_path)
        )
        if refusal is not None:
            return refusal
        release_at = rules.release_of(arguments, self._world.now(), self._max_hold)
        if isinstance(release_at, Reply):
            return release_at
        self._mail, self._sender, self._release_at = arguments, acting, release_at
        return failures.SENDER_OK

    def allow(self, left: int) -> Reply | None:
        """Take note of how many deliveries the account's rate leaves to this message; the refusal when there is none.

        The last word is spoken at the dot, where they are counted.
        """
        if left <= 0:
            refusal = self._over_rate()
            self.reset()
            return refusal
        self._left = left
        return None

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
        refusal = rules.may_write_to(recipient.mailbox, self._world.is_routed) or rules.one_more(
            len(self._recipients), self.max_recipients
        )
        if refusal is None and self._left is not None and len(self._recipients) >= self._left:
            refusal = self._over_rate()
        return recipient if refusal is None else refusal

    def add(self, recipient: Recipient) -> Reply:
        """Take a recipient for good."""
        self._recipients[recipient.mailbox] = recipient
        return failures.RECIPIENT_OK

    @property
    def sender(self) -> Login | None:
        """As whom the client sends the message of the open transaction: the account as it stood at MAIL."""
        return self._sender

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
            requiretls=self._mail.requiretls,
            ret=self._mail.ret,
            envid=self._mail.envid,
            release_at=self._release_at,
        )

    @property
    def release_at(self) -> datetime | None:
        """When the message of the open transaction may be sent at the earliest; None: at once."""
        return self._release_at

    def reset(self) -> None:
        """End the transaction (RFC 5321 §4.1.1.5)."""
        self._mail = self._sender = self._release_at = self._left = None
        self._recipients = {}

    def _look_again(self) -> None:
        """Look at the account as it stands now: it may have changed, or gone."""
        self.login, self.trusted = self._as_now(self.login), self._as_now(self.trusted)

    def _as_now(self, login: Login | None) -> Login | None:
        account = self._world.account(login.account.name) if login is not None else None
        return Login(account, login.fixed_stream) if login is not None and account is not None else None

    @property
    def _limited(self) -> Account | None:
        """Whose limits hold: the account's as it stood at MAIL, once there was one."""
        login = self._sender or self.acting
        return login.account if login is not None else None

    def _over_rate(self) -> Reply:
        account = self._limited
        if account is None or account.rate is None:
            raise ValueError("nobody's rate is used up")
        return failures.over_rate(account.name, rules.in_words(account.rate))

    @property
    def _has_mail(self) -> bool:
        return self._mail is not None

    @property
    def _has_recipients(self) -> bool:
        return bool(self._recipients)

    @property
    def _may_see_passwords(self) -> bool:
        return self._encrypted or self._kind is Kind.PLAIN

    @property
    def _offers_requiretls(self) -> bool:
        return self._settings.offer_requiretls and self._encrypted

    def _offers(self) -> Mapping[str, bool]:
        """All that clients are told works; the limits of RFC 9422 §3 are those of the account once it is known."""
        hold, latest = self._max_hold // timedelta(seconds=1), rules.date_time(self._world.now() + self._max_hold)
        return {
            "PIPELINING": True,
            f"SIZE {self.max_message_size}": True,
            "8BITMIME": True,
            "SMTPUTF8": True,
            "CHUNKING": True,
            "ENHANCEDSTATUSCODES": True,
            "DSN": True,
            "STARTTLS": self._offers_tls,
            f"AUTH {' '.join(self._world.mechanisms())}": self._may_see_passwords,
            "REQUIRETLS": self._offers_requiretls,
            f"FUTURERELEASE {hold} {latest}": True,
            f"LIMITS RCPTMAX={self.max_recipients}": True,
        }
