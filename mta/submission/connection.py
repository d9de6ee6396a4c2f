"""One client of the submission listener: its commands read, obeyed and answered (RFC 6409, RFC 5321 §4).

Thin on purpose: whether a command is in order is asked of `dialogue`, who the client is of `auth`, and what becomes of
a message of `acceptor`. This is one of the three borders where the unexpected becomes an answer: 451, and the traceback
under the same number in the log.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

from mta.mail import failures
from mta.mail.reply import Reply
from mta.submission.acceptor import Acceptor, Client, Submission
from mta.submission.auth import Authenticator
from mta.submission.counts import ROLE, Counts, Uncounted, reason_of
from mta.submission.data import DataReader
from mta.submission.dialogue import Dialogue
from mta.submission.feed import LineTooLong
from mta.submission.parameters import MAX_MAIL_LINE, MAX_RCPT_LINE
from mta.submission.sasl import MAX_LINE as MAX_AUTH_LINE
from mta.submission.sasl import MECHANISMS, Credentials, Exchange, Malformed, decode, encode
from mta.submission.settings import Kind, SubmissionSettings
from mta.submission.wire import Gone, NoTls, Silent, Wire

_log = logging.getLogger(__name__)

_MAX_LINE = 512  # RFC 5321 §4.5.3.1.4, CRLF included
_LINE_LIMITS = {"MAIL": MAX_MAIL_LINE, "RCPT": MAX_RCPT_LINE, "AUTH": MAX_AUTH_LINE}
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_BROWSERS = frozenset({"GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS"})
_PROTOCOL_ERRORS = frozenset({500, 501, 502, 503, 504, 555})
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


class House(Protocol):
    """The server, as a connection knows it."""

    def admit(self, connection: "Connection") -> bool:
        """Return whether there is room for one more client, and count it."""
        ...

    def leave(self, connection: "Connection") -> None:
        """A client has gone."""
        ...

    def tls_context(self) -> ssl.SSLContext:
        """Return the certificate in use now."""
        ...


class Connection(Wire):
    """Speaks with one client until it goes."""

    def __init__(self, services: Services, kind: Kind, house: House) -> None:
        settings = services.settings
        super().__init__(settings.hostname, settings.idle_timeout, settings.handshake_timeout)
        self._services = services
        self._kind = kind
        self._house = house
        self._dialogue = Dialogue(settings, kind, services.authenticator.account, services.is_routed)
        self._errors = 0
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here: start its task, if there is room."""
        link = cast(asyncio.Transport, transport)
        if not self._house.admit(self):
            self._services.counts.rejected(reason_of(failures.TOO_MANY_CONNECTIONS))
            link.write(f"{failures.TOO_MANY_CONNECTIONS}\r\n".encode("ascii"))
            link.close()
            return
        super().connection_made(transport)
        if self._kind is Kind.TLS:
            self._dialogue.secured()

    def shut_down(self) -> None:
        """End the session as soon as nothing is being done for the client: now, or after the message it is sending."""
        self._is_over = True
        if self._is_waiting:
            self.hang_up(failures.SHUTTING_DOWN)

    async def _handle_client(self) -> None:
        self._services.counts.connection_opened(ROLE)
        if self._kind is Kind.TLS:
            self._services.counts.tls_session(ROLE, self.tls.version() if self.tls is not None else None)
        try:
            await self._serve()
        except Silent:
            self.hang_up(failures.TIMEOUT)
        except NoTls as error:
            self._services.counts.tls_failed(ROLE)
            _log.info("TLS handshake with %s failed: %s", self.peer_address, error)
        except Gone:
            pass  # there is nobody to tell, and nothing that was accepted depends on it
        finally:
            self.hang_up()
            self._house.leave(self)
            self._services.counts.connection_closed(ROLE)

    async def _serve(self) -> None:
        self.say(Reply(220, None, f"{self.hostname} ESMTP mta"))
        longest = max(_LINE_LIMITS.values())
        while not self._is_over:
            try:
                line = await self.next_line(longest)
            except LineTooLong:
                self._answer("", failures.LINE_TOO_LONG)
                continue
            await self._obey(line)
            if self._errors >= self._services.settings.max_errors:
                _log.info("too many errors from %s", self.peer_address)
                return self.hang_up(failures.TOO_MANY_ERRORS)
        await self.flush()
        return self.hang_up(failures.SHUTTING_DOWN) if not self._link.is_closing() else None

    async def _obey(self, line: bytes) -> None:
        """Do one command."""
        text = _readable(line)
        if text is None:
            return self._answer("", failures.BAD_ENCODING)
        word, _, argument = text.rstrip(" ").partition(" ")
        verb = word.upper()
        if len(line) > _LINE_LIMITS.get(verb, _MAX_LINE):
            return self._answer(verb, failures.LINE_TOO_LONG)
        method = self._smtp_methods.get(verb)
        if method is None:
            if verb in _BROWSERS and not self._dialogue.client_name:
                # a browser whose page was made to post mail here: the rest of its request holds the commands
                raise Gone
            return self._answer(verb, failures.UNKNOWN_COMMAND)
        try:
            await method(argument)
        except (Gone, Silent, NoTls):
            raise
        except Exception:
            incident = self._services.incident()
            _log.exception("incident %s: unexpected error in %s from %s", incident, verb, self.peer_address)
            self._dialogue.reset()
            self._answer(verb, failures.internal(incident))
        return None

    def _answer(self, verb: str, reply: Reply) -> None:
        self.say(reply)
        if reply.code in _PROTOCOL_ERRORS and verb != "RCPT":
            self._errors += 1
        elif reply == failures.BAD_CREDENTIALS:
            self._services.counts.auth_failed()
            self._errors += _WRONG_PASSWORD_WEIGHT
        if not reply.is_positive:
            self._services.counts.rejected(reason_of(reply))
            # the text quotes no secret: AUTH's arguments are in no reply
            _log.info("%s from %s refused: %s", verb or "line", self.peer_address, reply)

    # --- the commands: aiosmtpd finds them by name, and every one of its own is replaced

    async def smtp_HELO(self, arg: str) -> None:
        """RFC 5321 §4.1.1.1."""
        self._answer("HELO", self._dialogue.hello(arg, extended=False))

    async def smtp_EHLO(self, arg: str) -> None:
        """RFC 5321 §4.1.1.1."""
        self._answer("EHLO", self._dialogue.hello(arg, extended=True))

    async def smtp_MAIL(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.2."""
        self._answer("MAIL", self._dialogue.mail(arg or ""))

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.3."""
        self._answer("RCPT", self._dialogue.rcpt(arg or ""))

    async def smtp_RSET(self, arg: str) -> None:
        """RFC 5321 §4.1.1.5."""
        if arg:
            return self._answer("RSET", failures.BAD_SYNTAX)
        self._dialogue.reset()
        return self._answer("RSET", failures.OK)

    async def smtp_NOOP(self, arg: str) -> None:
        """RFC 5321 §4.1.1.9."""
        self._answer("NOOP", failures.OK)

    async def smtp_HELP(self, arg: str) -> None:
        """RFC 5321 §4.1.1.8."""
        self._answer("HELP", failures.HELP)

    async def smtp_VRFY(self, arg: str) -> None:
        """RFC 5321 §3.5.3: nobody learns here who exists."""
        self._answer("VRFY", failures.CANNOT_VERIFY if arg else failures.BAD_SYNTAX)

    async def smtp_EXPN(self, arg: str) -> None:
        """RFC 5321 §3.5.2: there are no lists."""
        self._answer("EXPN", failures.NOT_IMPLEMENTED)

    async def smtp_QUIT(self, arg: str) -> None:
        """RFC 5321 §4.1.1.10."""
        if arg:
            return self._answer("QUIT", failures.BAD_SYNTAX)
        self.hang_up(failures.BYE)
        raise Gone

    async def smtp_STARTTLS(self, arg: str) -> None:
        """RFC 3207 §4. What was sent behind the command came in clear, and must not be read as if under TLS."""
        if refusal := self._dialogue.may_start_tls(arg):
            return self._answer("STARTTLS", refusal)
        if not self.feed.is_empty:
            self.hang_up(failures.PIPELINED_STARTTLS)
            raise Gone
        self.say(failures.READY_FOR_TLS)
        await self.encrypt(self._house.tls_context())
        self._services.counts.tls_session(ROLE, self.tls.version() if self.tls is not None else None)
        return self._dialogue.secured()

    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954 §4."""
        mechanism, _, initial = arg.partition(" ")
        if refusal := self._dialogue.may_log_in():
            return self._answer("AUTH", refusal)
        if mechanism.upper() not in MECHANISMS:
            return self._answer("AUTH", failures.UNKNOWN_MECHANISM if mechanism else failures.BAD_SYNTAX)
        credentials = await self._converse(MECHANISMS[mechanism.upper()](), initial)
        if isinstance(credentials, Reply):
            return self._answer("AUTH", credentials)
        login = await self._services.authenticator.verify(credentials)
        if isinstance(login, Reply):
            return self._answer("AUTH", login)
        self._dialogue.login = login
        return self._answer("AUTH", failures.AUTHENTICATED)

    async def smtp_DATA(self, arg: str) -> None:
        """RFC 5321 §4.1.1.4."""
        if refusal := self._dialogue.may_send_content(arg):
            return self._answer("DATA", refusal)
        settings = self._services.settings
        self.say(failures.START_INPUT)
        await self.flush()
        reader = DataReader(settings.max_message_size, take_long_lines=settings.take_long_lines)
        while (behind := reader.feed(await self.next_piece())) is None:
            pass
        self.feed.put_back(behind)
        reply = reader.refusal or await self._services.acceptor.accept(self._submission(reader.pieces()))
        self._dialogue.reset()
        if reply.is_positive:
            self._errors = 0
        return self._answer("DATA", reply)

    # --- their parts

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
        return _readable(await self.next_line(MAX_AUTH_LINE))

    def _submission(self, pieces: tuple[bytes, ...]) -> Submission:
        login, tls = self._dialogue.login, self.tls
        if login is None:
            raise ValueError("content from a client that has not logged in")
        cipher = tls.cipher() if tls is not None else None
        client = Client(
            name=self._dialogue.client_name,
            address=self.peer_address,
            tls_version=tls.version() if tls is not None else None,
            tls_cipher=cipher[0] if cipher else None,
        )
        return Submission(login, self._dialogue.envelope(), pieces, client)


def _readable(line: bytes) -> str | None:
    """A command without its CRLF; None where it is not UTF-8, holds a control character or ends in a bare LF."""
    if not line.endswith(b"\r\n") or _CONTROL.search(line, 0, len(line) - 2):
        return None
    try:
        return line[:-2].decode("utf-8")
    except UnicodeDecodeError:
        return None
