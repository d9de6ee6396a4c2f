"""One client of the submission listener: what it says beyond what clients of any listener say (RFC 6409, RFC 4954).

Whether a command is in order is asked of `dialogue`, who the client is of `auth`, and what becomes of a message of
`acceptor`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mta.accounts.account import Login
from mta.errors import StoreUnavailable
from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.data import DataReader
from mta.smtp.feed import LineTooLong
from mta.smtp.session import House, Session, readable
from mta.smtp.settings import Kind
from mta.submission.acceptor import Acceptor, Submission
from mta.submission.auth import Authenticator
from mta.submission.counts import ROLE, Counts, Uncounted
from mta.submission.dialogue import SubmissionDialogue
from mta.submission.gate import Gate, OpenGate
from mta.submission.parameters import MAX_MAIL_LINE, MAX_RCPT_LINE
from mta.submission.sasl import MAX_LINE as MAX_AUTH_LINE
from mta.submission.sasl import MECHANISMS, Credentials, Exchange, Malformed, decode, encode
from mta.submission.settings import SubmissionSettings

_WRONG_PASSWORD_WEIGHT = 4
"""Errors that one failed login counts for: some five tries a connection."""


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


class Connection(Session):
    """Speaks with one client until it goes."""

    role: ClassVar[str] = ROLE
    line_limits: ClassVar[Mapping[str, int]] = {"MAIL": MAX_MAIL_LINE, "RCPT": MAX_RCPT_LINE, "AUTH": MAX_AUTH_LINE}
    _dialogue: SubmissionDialogue

    def __init__(self, services: Services, kind: Kind, house: House) -> None:
        settings = services.settings
        dialogue = SubmissionDialogue(
            settings, kind, services.authenticator.account, services.is_routed, services.gate.suspended
        )
        super().__init__(settings, kind, house, dialogue, services.incident, services.counts)
        self._services = services

    def _weight(self, verb: str, reply: Reply) -> int:
        return _WRONG_PASSWORD_WEIGHT if reply == failures.BAD_CREDENTIALS else super()._weight(verb, reply)

    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954 §4."""
        mechanism, _, initial = arg.partition(" ")
        if refusal := self._dialogue.may_log_in():
            return self._answer("AUTH", refusal)
        if mechanism.upper() not in MECHANISMS:
            return self._answer("AUTH", failures.UNKNOWN_MECHANISM if mechanism else failures.BAD_SYNTAX)
        credentials = await self._converse(MECHANISMS[mechanism.upper()](), initial)
        if isinstance(credentials, Reply):
            return self._refuse_login(credentials)
        login = await self._services.authenticator.verify(credentials)
        if isinstance(login, Reply):
            return self._refuse_login(login)
        self._dialogue.login = login
        return self._answer("AUTH", failures.AUTHENTICATED)

    async def _mail(self, argument: str) -> Reply:
        return self._dialogue.mail(argument)

    async def _rcpt(self, argument: str) -> Reply:
        recipient = self._dialogue.rcpt(argument)
        if isinstance(recipient, Reply):
            return recipient
        try:
            suppression = await self._services.gate.suppressed(self._login.account.name, recipient.mailbox)
        except StoreUnavailable:
            return failures.STORE_UNAVAILABLE
        return self._dialogue.add(recipient) if suppression is None else failures.suppressed(str(suppression))

    def _content_reader(self) -> DataReader:
        settings = self._services.settings
        return DataReader(settings.max_message_size, take_long_lines=settings.take_long_lines)

    async def _take(self, content: DataReader) -> Reply:
        submission = Submission(self._login, self._dialogue.envelope(), content.pieces(), self._client())
        return await self._services.acceptor.accept(submission, self._services.gate.suspended)

    # --- their parts

    @property
    def _login(self) -> Login:
        """Whose transaction is open."""
        if self._dialogue.login is None:
            raise ValueError("a transaction of a client that has not logged in")
        return self._dialogue.login

    def _refuse_login(self, reply: Reply) -> None:
        if reply == failures.BAD_CREDENTIALS:
            self._services.counts.auth_failed()
        self._answer("AUTH", reply)

    async def _converse(self, exchange: Exchange, initial: str) -> Credentials | Reply:
        """Carry challenges and answers until the client has said who it is."""
        challenge = next(exchange)
        # `=` stands for an empty initial response; no argument, for none (RFC 4954 §4)
        answer = initial.replace("=", "", 1) if initial == "=" else initial or None
        while True:
            if answer is None:
                try:
                    answer = await self._challenged(challenge)
                except LineTooLong:
                    return failures.AUTH_LINE_TOO_LONG
            if answer is None or answer == "*":
                return failures.AUTH_CANCELLED if answer else failures.BAD_ENCODING
            try:
                challenge = exchange.send(decode(answer))
            except ValueError:
                return failures.BAD_BASE64
            except Malformed:
                return failures.BAD_CREDENTIALS
            except StopIteration as done:
                credentials: Credentials = done.value
                return credentials
            answer = None

    async def _challenged(self, challenge: bytes) -> str | None:
        """Send a challenge; return the answer, None where it is no text."""
        self.say(Reply(334, None, encode(challenge)))
        return readable(await self.next_line(MAX_AUTH_LINE))
