"""One client of the submission listener: what it says beyond what clients of any listener say (RFC 6409, RFC 4954).

Whether a command is in order is asked of `dialogue`, who the client is of `auth`, and what becomes of a message of
`acceptor`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from mta.accounts.account import Account, Login
from mta.errors import StoreUnavailable
from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.commands import Reader
from mta.smtp.content import ContentReader
from mta.smtp.counts import reason_of
from mta.smtp.feed import LineTooLong
from mta.smtp.session import House, Session, readable
from mta.smtp.settings import Kind
from mta.smtp.wire import Gone
from mta.submission.acceptor import Acceptor, Submission
from mta.submission.auth import Applicant, Authenticator
from mta.submission.binding import end_point_at
from mta.submission.counts import ROLE, Counts, Uncounted
from mta.submission.dialogue import SubmissionDialogue, World
from mta.submission.gate import Allowance, BoundlessAllowance, Gate, OpenGate
from mta.submission.login import log_in
from mta.submission.parameters import MAX_MAIL_LINE, MAX_RCPT_LINE
from mta.submission.sasl import MAX_LINE as MAX_AUTH_LINE
from mta.submission.settings import SubmissionSettings

_WRONG_PASSWORD_WEIGHT = 4
"""Errors that one failed login counts for: some five tries a connection."""
_FAILED_LOGINS = (failures.BAD_CREDENTIALS, failures.LOCKED_OUT)


@dataclass(frozen=True, slots=True)
class Services:
    """What every connection works with."""

    settings: SubmissionSettings
    authenticator: Authenticator
    acceptor: Acceptor
    is_routed: Callable[[str], bool]
    """Whether a route names a domain."""
    incident: Callable[[], str]
    """Makes a number under which something unexpected is found in the log."""
    counts: Counts = field(default_factory=Uncounted)
    gate: Gate = field(default_factory=OpenGate)
    allowance: Allowance = field(default_factory=BoundlessAllowance)


class Hall(House, Protocol):
    """The server, as a session of this door knows it."""

    def seat(self, session: Session, account: Account) -> bool:
        """Return whether an account may have one more client, and count it from now on."""
        ...


class Connection(Session):
    """Speaks with one client until it goes."""

    role: ClassVar[str] = ROLE
    line_limits: ClassVar[Mapping[str, int]] = {"MAIL": MAX_MAIL_LINE, "RCPT": MAX_RCPT_LINE, "AUTH": MAX_AUTH_LINE}
    _dialogue: SubmissionDialogue

    def __init__(self, services: Services, kind: Kind, hall: Hall) -> None:
        dialogue = SubmissionDialogue(
            services.settings,
            kind,
            World(
                services.authenticator.account,
                services.is_routed,
                services.gate.suspended,
                services.acceptor.now,
                lambda: services.authenticator.mechanisms(end_point_at(self.tls)),
            ),
        )
        super().__init__(services.settings, kind, hall, dialogue, services.incident, services.counts)
        self._services = services
        self._hall = hall
        self._is_accepting = False
        self._left = asyncio.Event()
        """Set when the client has gone or is to go: a refusal of its login is not kept back any more."""

    def shut_down(self) -> None:
        """End the session as soon as nothing is being done for the client."""
        self._left.set()
        super().shut_down()

    def dismiss(self, reply: Reply) -> None:
        """Cut the client off: now, or once it has heard what became of the message that is being written."""
        self._left.set()
        if self._is_accepting:
            self.cut(reply)
        else:
            self.hang_up(reply)

    @property
    def account(self) -> str | None:
        """As whose client it sends; None: it has not logged in."""
        acting = self._dialogue.acting
        return None if acting is None else acting.account.name

    def connection_lost(self, error: Exception | None) -> None:
        """The client has left."""
        self._left.set()
        super().connection_lost(error)

    def _weight(self, verb: str, reply: Reply) -> int:
        return _WRONG_PASSWORD_WEIGHT if reply in _FAILED_LOGINS else super()._weight(verb, reply)

    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954 §4."""
        if refusal := self._dialogue.may_log_in():
            return self._answer("AUTH", refusal)
        applicant = Applicant(self.peer_address, end_point_at(self.tls), self._left)
        login = await log_in(self._services.authenticator, arg, applicant, self._ask)
        if isinstance(login, Reply):
            if login == failures.BAD_CREDENTIALS:
                self._services.counts.auth_failed()
            return self._answer("AUTH", login)
        self._take_seat(login.account)
        self._dialogue.login = login
        return self._answer("AUTH", failures.AUTHENTICATED)

    async def _ask(self, challenge: Reply) -> str | Reply:
        """Say a challenge of AUTH; return the answer, or the reply to one that cannot be read."""
        self.say(challenge)
        try:
            text = readable(await self.next_line(MAX_AUTH_LINE))
        except LineTooLong:
            return failures.AUTH_LINE_TOO_LONG
        return failures.BAD_ENCODING if text is None else text

    async def _mail(self, argument: str) -> Reply:
        if self._dialogue.login is None:
            self._trust()
        reply = self._dialogue.mail(argument)
        if not reply.is_positive:
            return reply
        account = self._login.account
        # what waits for its release is counted then: how much is left now says nothing of it
        if account.rate is None or self._dialogue.release_at is not None:
            return reply
        try:
            left = await self._services.allowance.remaining(account.name, account.rate)
        except StoreUnavailable:
            self._dialogue.reset()
            return failures.STORE_UNAVAILABLE
        return self._dialogue.allow(left) or reply

    async def _rcpt(self, argument: str) -> Reply:
        recipient = self._dialogue.rcpt(argument)
        if isinstance(recipient, Reply):
            return recipient
        try:
            suppression = await self._services.gate.suppressed(self._login.account.name, recipient.mailbox)
        except StoreUnavailable:
            return failures.STORE_UNAVAILABLE
        return self._dialogue.add(recipient) if suppression is None else failures.suppressed(str(suppression))

    def _content_reader(self, kind: type[Reader]) -> Reader:
        settings = self._services.settings
        return kind(self._dialogue.max_message_size, take_long_lines=settings.take_long_lines)

    async def _take(self, content: ContentReader) -> Reply:
        submission = Submission(
            self._login,
            self._dialogue.envelope(),
            content.pieces(),
            self._client(),
            authenticated=self._dialogue.login is not None,
            extended=self._dialogue.extended,
        )
        self._is_accepting = True
        try:
            return await self._services.acceptor.accept(submission, self._services.gate.suspended)
        finally:
            self._is_accepting = False

    # --- their parts

    @property
    def _login(self) -> Login:
        """Whose transaction is open."""
        if self._dialogue.sender is None:
            raise ValueError("a transaction of a client that has not logged in")
        return self._dialogue.sender

    def _trust(self) -> None:
        """Let the client act as the account of its network, if it is from one that is trusted now."""
        before = self._dialogue.trusted
        trusted = self._services.authenticator.trusted_login(self.peer_address)
        if trusted is not None and (before is None or before.account.name != trusted.account.name):
            self._take_seat(trusted.account)
        self._dialogue.trusted = trusted

    def _take_seat(self, account: Account) -> None:
        """Count the client as one of an account's.

        Raises:
            Gone: the account has too many; the client has been told.
        """
        if not self._hall.seat(self, account):
            self._counts.rejected(reason_of(failures.TOO_MANY_CONNECTIONS), self.role)
            self.hang_up(failures.too_many_connections_of(account.name, account.max_connections or 0))
            raise Gone
