"""One client of a listener: its commands read, obeyed and answered (RFC 5321 §4), as far as every door does the same.

Thin on purpose: whether a command is in order is asked of a `Dialogue`; what MAIL, RCPT and a content mean is each
door's own. This is one of the three borders where the unexpected becomes an answer: 451, and the traceback under the
same number in the log.
"""

import asyncio
import logging
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol, cast

from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.client import Client
from mta.smtp.counts import Counts, reason_of
from mta.smtp.data import DataReader
from mta.smtp.dialogue import Dialogue
from mta.smtp.feed import LineTooLong
from mta.smtp.parameters import MAX_LINE
from mta.smtp.settings import DoorSettings, Kind
from mta.smtp.wire import Gone, NoTls, Silent, Wire

_log = logging.getLogger(__name__)

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_BROWSERS = frozenset({"GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS"})
_PROTOCOL_ERRORS = frozenset({500, 501, 502, 503, 504, 555})


class House(Protocol):
    """The server, as a session knows it."""

    def admit(self, session: "Session", address: str) -> bool:
        """Return whether there is room for one more client, from this address, and count it."""
        ...

    def leave(self, session: "Session") -> None:
        """A client has gone."""
        ...

    def tls_context(self) -> ssl.SSLContext:
        """Return the certificate in use now."""
        ...


class Session(Wire, ABC):
    """Speaks with one client until it goes."""

    role: ClassVar[str]
    """By which the door is counted."""
    line_limits: ClassVar[Mapping[str, int]]
    """Octets of the commands that extensions lengthen, CRLF included."""

    def __init__(
        self,
        settings: DoorSettings,
        kind: Kind,
        house: House,
        dialogue: Dialogue,
        incident: Callable[[], str],
        counts: Counts,
    ) -> None:
        """`incident` makes a number under which something unexpected is found in the log."""
        super().__init__(settings.hostname, settings.idle_timeout, settings.handshake_timeout)
        self._limits = settings
        self._kind = kind
        self._house = house
        self._dialogue = dialogue
        self._incident = incident
        self._counts = counts
        self._errors = 0
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here: start its task, if there is room."""
        link = cast(asyncio.Transport, transport)
        peer = link.get_extra_info("peername")
        if not self._house.admit(self, str(peer[0]) if peer else "unknown"):
            self._counts.rejected(reason_of(failures.TOO_MANY_CONNECTIONS), self.role)
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

    # --- each door's own

    @abstractmethod
    async def _mail(self, argument: str) -> Reply:
        """Answer MAIL (RFC 5321 §4.1.1.2)."""

    @abstractmethod
    async def _rcpt(self, argument: str) -> Reply:
        """Answer RCPT (RFC 5321 §4.1.1.3)."""

    @abstractmethod
    def _content_reader(self) -> DataReader:
        """Return what reads the content that follows."""

    @abstractmethod
    async def _take(self, content: DataReader) -> Reply:
        """Answer the final dot of a content that the reader did not refuse."""

    def _weight(self, verb: str, reply: Reply) -> int:
        """How many errors a reply counts for."""
        return 1 if reply.code in _PROTOCOL_ERRORS and verb != "RCPT" else 0

    # --- the conversation

    async def _handle_client(self) -> None:
        self._counts.connection_opened(self.role)
        if self._kind is Kind.TLS:
            self._counts.tls_session(self.role, self.tls.version() if self.tls is not None else None)
        try:
            await self._serve()
        except Silent:
            self.hang_up(failures.TIMEOUT)
        except NoTls as error:
            self._counts.tls_failed(self.role)
            _log.info("TLS handshake with %s failed: %s", self.peer_address, error)
        except Gone:
            pass  # there is nobody to tell, and nothing that was accepted depends on it
        finally:
            self.hang_up()
            self._house.leave(self)
            self._counts.connection_closed(self.role)

    async def _serve(self) -> None:
        self.say(Reply(220, None, f"{self.hostname} ESMTP mta"))
        longest = max(MAX_LINE, *self.line_limits.values())
        while not self._is_over:
            try:
                line = await self.next_line(longest)
            except LineTooLong:
                self._answer("", failures.LINE_TOO_LONG)
                continue
            await self._obey(line)
            if self._errors >= self._limits.max_errors:
                _log.info("too many errors from %s", self.peer_address)
                return self.hang_up(failures.TOO_MANY_ERRORS)
        await self.flush()
        return self.hang_up(failures.SHUTTING_DOWN) if not self._link.is_closing() else None

    async def _obey(self, line: bytes) -> None:
        """Do one command."""
        text = readable(line)
        if text is None:
            return self._answer("", failures.BAD_ENCODING)
        word, _, argument = text.rstrip(" ").partition(" ")
        verb = word.upper()
        if len(line) > self.line_limits.get(verb, MAX_LINE):
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
            incident = self._incident()
            _log.exception("incident %s: unexpected error in %s from %s", incident, verb, self.peer_address)
            self._dialogue.reset()
            self._answer(verb, failures.internal(incident))
        return None

    def _answer(self, verb: str, reply: Reply) -> None:
        self.say(reply)
        self._errors += self._weight(verb, reply)
        if not reply.is_positive:
            self._counts.rejected(reason_of(reply), self.role)
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
        self._answer("MAIL", await self._mail(arg or ""))

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RFC 5321 §4.1.1.3."""
        self._answer("RCPT", await self._rcpt(arg or ""))

    async def smtp_DATA(self, arg: str) -> None:
        """RFC 5321 §4.1.1.4."""
        if refusal := self._dialogue.may_send_content(arg):
            return self._answer("DATA", refusal)
        self.say(failures.START_INPUT)
        await self.flush()
        content = self._content_reader()
        await self._receive(content)
        reply = content.refusal or await self._take(content)
        self._dialogue.reset()
        if reply.is_positive:
            self._errors = 0
        return self._answer("DATA", reply)

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

    async def smtp_AUTH(self, arg: str) -> None:
        """RFC 4954 §4: nobody logs in, unless a door lets them."""
        self._answer("AUTH", failures.NOT_IMPLEMENTED)

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
        self._counts.tls_session(self.role, self.tls.version() if self.tls is not None else None)
        return self._dialogue.secured()

    # --- their parts

    async def _receive(self, content: DataReader) -> None:
        """Read a content to its end."""
        limit = self._limits.content_timeout
        try:
            async with asyncio.timeout(None if limit is None else limit.total_seconds()):
                while (behind := content.feed(await self.next_piece())) is None:
                    pass
        except TimeoutError:
            raise Silent from None
        self.feed.put_back(behind)

    def _client(self) -> Client:
        """Return who it is, as far as the connection tells."""
        tls = self.tls
        cipher = tls.cipher() if tls is not None else None
        return Client(
            name=self._dialogue.client_name,
            address=self.peer_address,
            tls_version=tls.version() if tls is not None else None,
            tls_cipher=cipher[0] if cipher else None,
        )


def readable(line: bytes) -> str | None:
    """Return a command without its CRLF; None where it is not UTF-8, holds a control character or ends in a bare LF."""
    if not line.endswith(b"\r\n") or _CONTROL.search(line, 0, len(line) - 2):
        return None
    try:
        return line[:-2].decode("utf-8")
    except UnicodeDecodeError:
        return None
