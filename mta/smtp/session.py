"""One client of a listener: who it is, its commands read, counted and answered (RFC 5321 §4), until it goes.

What commands do is told in `commands`. This is one of the three borders where the unexpected becomes an answer: 451,
and the traceback under the same number in the log.
"""

import asyncio
import logging
import re
import ssl
from abc import ABC
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import ClassVar, Protocol, cast

from mta.mail import failures
from mta.mail.reply import Reply
from mta.smtp.budget import ReceiveBudget
from mta.smtp.client import Client
from mta.smtp.commands import Commands
from mta.smtp.counts import Counts, reason_of
from mta.smtp.dialogue import Dialogue
from mta.smtp.feed import LineTooLong
from mta.smtp.outbox import Outbox
from mta.smtp.parameters import MAX_LINE
from mta.smtp.proxy import NoHeader, read_origin
from mta.smtp.settings import DoorSettings, Kind
from mta.smtp.wire import Gone, NoTls, Silent, TooSlow

_log = logging.getLogger(__name__)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BROWSERS = frozenset({"GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS"})
_PROTOCOL_ERRORS = frozenset({500, 501, 502, 503, 504, 555})
_TOWARDS_A_MESSAGE = frozenset({"RCPT", "DATA", "BDAT"})
_CHUNK = b"BDAT"


class House(Protocol):
    """The server, as a session knows it."""

    @property
    def budget(self) -> ReceiveBudget:
        """The room that all contents share."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Through which all replies go."""
        ...

    def admit(self, session: "Session", address: str | None) -> bool:
        """Return whether there is room for one more client, from this address, and count it.

        None: the address is not known yet; ask again when it is.
        """
        ...

    def leave(self, session: "Session") -> None:
        """A client has gone."""
        ...

    def tls_context(self) -> ssl.SSLContext:
        """Return the certificate in use now."""
        ...


class Session(Commands, ABC):
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
        super().__init__(settings, dialogue, house.budget, house.outbox)
        self._kind = kind
        self._house = house
        self._incident = incident
        self._counts = counts
        self._errors = 0
        self._without_mail = 0
        self._is_arriving = False
        self._is_proxied = False
        self._last_words: Reply | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here: start its task, if there is room."""
        link = cast(asyncio.Transport, transport)
        peer = link.get_extra_info("peername")
        self.peer_address = str(peer[0]) if peer else "unknown"
        self._is_proxied = self._comes_through_a_proxy()
        if not self._house.admit(self, None if self._is_proxied else self.peer_address):
            self._link = link
            return self._turn_away()
        return super().connection_made(transport)

    def cut(self, last_words: Reply) -> None:
        """End the session as soon as nothing is being done for the client: now, or after its command or message."""
        self._last_words = last_words
        if self._is_waiting:
            self.hang_up(last_words)
        elif self._is_arriving and self.task is not None:
            self.task.cancel()

    def shut_down(self) -> None:
        """End the session since the server stops."""
        self.cut(failures.SHUTTING_DOWN)

    def _weight(self, verb: str, reply: Reply) -> int:
        """How many errors a refusal counts for."""
        if reply == failures.CHUNKS_FAILED:
            return 0
        return 1 if reply.code in _PROTOCOL_ERRORS and verb != "RCPT" else 0

    # --- the conversation

    async def _handle_client(self) -> None:
        self._counts.connection_opened(self.role)
        try:
            if self._last_words is None:
                self._is_arriving = True
                await self._arrive()
                self._is_arriving = False
                await self._serve()
        except TooSlow:
            self._leave_with(failures.TOO_SLOW)
        except Silent:
            self._leave_with(failures.TIMEOUT)
        except NoTls as error:
            self._counts.tls_failed(self.role)
            _log.info("TLS handshake with %s failed: %s", self.peer_address, error)
        except Gone:
            pass  # there is nobody to tell, and nothing that was accepted depends on it
        finally:
            self._drop_content()
            self.hang_up()
            self._house.leave(self)
            self._counts.connection_closed(self.role)

    async def _arrive(self) -> None:
        """All that comes before the greeting: who it is, TLS where it begins with that, and whether it can wait."""
        if self._is_proxied:
            await self._learn_origin()
            if not self._house.admit(self, self.peer_address):
                self._turn_away()
                raise Gone
        if self._kind is Kind.TLS:
            await self._encrypt()
        delay = self._limits.banner_delay.total_seconds()
        if delay and await self.talks_within(delay):
            self._leave_with(failures.EARLY_TALKER)
            raise Gone

    async def _serve(self) -> None:
        self.say(Reply(220, None, f"{self.hostname} ESMTP mta"))
        longest = max(MAX_LINE, *self.line_limits.values())
        while self._last_words is None:
            try:
                line = await self.next_line(longest)
            except LineTooLong:
                self._answer("", failures.LINE_TOO_LONG)
                continue
            if self._link.is_closing():
                # cut while it was waiting: what it said since is not obeyed
                raise Gone
            await self._obey(line)
            if not self._dialogue.is_open:
                self._drop_content()
            if self._errors >= self._limits.max_errors:
                return self._leave_with(failures.TOO_MANY_ERRORS)
            if self._without_mail > self._limits.max_commands_without_mail:
                return self._leave_with(failures.TOO_MANY_COMMANDS)
        await self.flush()
        return self.hang_up(self._last_words) if not self._link.is_closing() else None

    async def _obey(self, line: bytes) -> None:
        """Do one command."""
        text = readable(line)
        if text is None:
            return self._misread("", failures.BAD_ENCODING, line)
        word, _, argument = text.rstrip(" ").partition(" ")
        verb = word.upper()
        if verb not in _TOWARDS_A_MESSAGE or (verb == "BDAT" and not argument.strip("0")):
            self._without_mail += 1
        if verb != "BDAT":
            self._chunks_failed = False
        if len(line) > self.line_limits.get(verb, MAX_LINE):
            return self._misread(verb, failures.LINE_TOO_LONG, line)
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
        if not reply.is_positive:
            self._errors += self._weight(verb, reply)
            self._refused(verb or "line", reply)
        elif verb in ("DATA", "BDAT") and not self._dialogue.is_open:
            # a message was accepted
            self._errors = self._without_mail = 0

    # --- their parts

    async def _encrypt(self) -> None:
        await self.encrypt(self._house.tls_context(), from_the_first=self._is_arriving)
        self._counts.tls_session(self.role, self.tls.version() if self.tls is not None else None)
        self._dialogue.secured()

    async def _learn_origin(self) -> None:
        """Read the balancer's header.

        Raises:
            Gone: there is none.
        """
        balancer = self.peer_address
        try:
            async with asyncio.timeout(self._limits.handshake_timeout.total_seconds()):
                origin = await read_origin(self.feed.piece)
        except EOFError:
            raise Gone from None  # it only looked whether somebody listens
        except (NoHeader, TimeoutError) as error:
            _log.warning("%s is in proxy_protocol_from and sent no PROXY header: %s", balancer, str(error) or "nothing")
            raise Gone from None
        self.peer_address = origin or balancer

    def _comes_through_a_proxy(self) -> bool:
        networks = self._limits.proxy_protocol_from
        if not networks:
            return False
        try:
            address = ip_address(self.peer_address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in networks)

    def _misread(self, verb: str, reply: Reply, line: bytes) -> None:
        """Answer a line that is not obeyed; end the session where what follows it may be a chunk."""
        self._answer(verb, reply)
        if line[: len(_CHUNK)].upper() == _CHUNK and self._dialogue.takes_chunks:
            self._fall_out_of_step()

    def _refused(self, what: str, reply: Reply) -> None:
        self._counts.rejected(reason_of(reply), self.role)
        # the text quotes no secret: AUTH's arguments are in no reply
        _log.info("%s from %s refused: %s", what, self.peer_address, reply)

    def _leave_with(self, reply: Reply) -> None:
        """Say why, and close."""
        self._refused("session", reply)
        self.hang_up(reply)

    def _turn_away(self) -> None:
        """Close the connection of a client for which there is no room. Before TLS nobody would understand a word."""
        self._refused("connection", failures.TOO_MANY_CONNECTIONS)
        if self._kind is Kind.TLS:
            self.hang_up()
        else:
            self.hang_up(failures.TOO_MANY_CONNECTIONS)

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
    if not line.endswith(b"\r\n"):
        return None
    try:
        text = line[:-2].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() or not _CONTROL.search(text) else None
