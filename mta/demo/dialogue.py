"""The dialogue of one SMTP connection, as a strict receiving host leads it (RFC 5321).

It takes no parameter of an extension it did not offer, no command out of order and no line end but CRLF, so that a
client's mistake shows. What it answers may be scripted; where accepted messages go is left to the receiver.
"""

import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from mta.demo.script import Behaviour, Script, code_class, rendered
from mta.demo.wire import LINE_LIMIT, Wire


class Extension(StrEnum):
    """What EHLO can offer (STARTTLS only with a TLS context, before TLS)."""

    PIPELINING = "PIPELINING"
    SIZE = "SIZE"
    EIGHT_BIT_MIME = "8BITMIME"
    ENHANCED_STATUS_CODES = "ENHANCEDSTATUSCODES"
    DSN = "DSN"
    SMTPUTF8 = "SMTPUTF8"
    STARTTLS = "STARTTLS"


_PARAMETERS = {
    "MAIL": {
        "SIZE": Extension.SIZE,
        "BODY": Extension.EIGHT_BIT_MIME,
        "SMTPUTF8": Extension.SMTPUTF8,
        "RET": Extension.DSN,
        "ENVID": Extension.DSN,
    },
    "RCPT": {"NOTIFY": Extension.DSN, "ORCPT": Extension.DSN},
}
_PATH = re.compile(r'(?i:FROM|TO):<((?:"(?:[^"\\]|\\.)*"|[^"<>\s])*)>((?: +[^\s=]+(?:=[^\s=]+)?)*) *')


@dataclass(frozen=True, slots=True)
class Received:
    """One accepted message: 2xx was the answer to its final dot.

    Paths are without angle brackets, parameters as written; `rcpt_parameters` has a tuple for each recipient.
    `content` is what came between 354 and the dot, dot-stuffing undone. `connection` counts from 1.
    `received_at` is what the receiver's clock said, by default seconds since 1970.
    """

    reverse_path: str
    mail_parameters: tuple[str, ...]
    recipients: tuple[str, ...]
    rcpt_parameters: tuple[tuple[str, ...], ...]
    content: bytes = field(repr=False)
    tls: bool
    tls_version: str | None
    helo: str
    peer: str
    connection: int
    received_at: float


@dataclass(frozen=True, slots=True)
class _Path:
    address: str
    parameters: tuple[str, ...]


@dataclass(slots=True)
class _Transaction:
    reverse: _Path
    forward: list[_Path] = field(default_factory=list)

    @property
    def recipients(self) -> tuple[str, ...]:
        return tuple(path.address for path in self.forward)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a receiver is like: `size_limit` in octets, `clock` in seconds."""

    hostname: str
    extensions: frozenset[Extension]
    tls: ssl.SSLContext | None
    size_limit: int
    clock: Callable[[], float]


class Records(Protocol):
    """Where a dialogue leaves what is worth remembering."""

    def note(self, command: str) -> None:
        """A command line came."""

    async def keep(self, message: Received) -> None:
        """A message was accepted."""


class Dialogue:
    """The dialogue on one connection, whose number is `number`."""

    def __init__(self, terms: Terms, script: Script, wire: Wire, number: int, records: Records) -> None:
        self._terms, self._script, self._wire, self._number, self._records = terms, script, wire, number, records
        self._offered: frozenset[Extension] = frozenset()
        self._helo = ""
        self._transaction: _Transaction | None = None
        self._over = False
        self._contents = 0

    async def run(self) -> None:
        """Lead it to its end; what reading raises ends it too."""
        welcome = await self._answer("GREETING", (), f"220 {self._terms.hostname} ESMTP") == b"2"
        while not self._over:
            line = await self._wire.line()
            command = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "backslashreplace")
            self._records.note(command)
            verb, _, argument = command.partition(" ")
            if fault := _fault(line):
                await self._say(f"500 5.5.2 {fault}")
            elif welcome or verb.upper() == "QUIT":
                await self._obey(verb.upper(), argument)
            else:
                await self._say("503 5.5.1 Not welcome here")  # RFC 5321 §3.1

    async def _obey(self, verb: str, argument: str) -> None:
        match verb:
            case "EHLO" | "HELO":
                await self._hello(verb, argument)
            case "STARTTLS" if Extension.STARTTLS in self._offered:
                await self._start_tls()
            case "MAIL" | "RCPT":
                await self._envelope(verb, argument)
            case "DATA":
                await self._data()
            case "RSET" | "NOOP":
                if await self._answer(verb, (argument,), "250 2.0.0 Ok") == b"2" and verb == "RSET":
                    self._transaction = None
            case "VRFY":
                await self._say("252 2.5.0 Send some mail and see")
            case "QUIT":
                await self._answer(verb, (), "221 2.0.0 Bye")
                self._over = True
            case _:
                await self._say("500 5.5.1 Command not known here")

    async def _hello(self, verb: str, argument: str) -> None:
        if not argument.strip():
            return await self._say(f"501 5.5.4 Syntax: {verb} hostname")
        offered = self._terms.extensions if verb == "EHLO" else frozenset()
        if self._terms.tls is None or self._wire.tls_version:
            offered -= {Extension.STARTTLS}
        lines = [f"SIZE {self._terms.size_limit}" if item is Extension.SIZE else item for item in sorted(offered)]
        if await self._answer(verb, (argument,), "\n".join([f"250 {self._terms.hostname}", *lines])) == b"2":
            self._helo, self._offered, self._transaction = argument, offered, None
        return None

    async def _start_tls(self) -> None:
        if self._wire.waiting:
            self._over = True
            return await self._say("503 5.5.1 Commands behind STARTTLS were sent in clear")
        if await self._answer("STARTTLS", (), "220 2.0.0 Go ahead") == b"2" and self._terms.tls is not None:
            await self._wire.start_tls(self._terms.tls)
            self._helo, self._offered, self._transaction = "", frozenset(), None  # RFC 3207 §4.2
        return None

    async def _envelope(self, verb: str, argument: str) -> None:
        path = _parsed(verb, argument)
        transaction = self._transaction
        if not self._helo or (transaction is None) != (verb == "MAIL"):
            return await self._say("503 5.5.1 Bad sequence of commands")
        if path is None or (verb == "RCPT" and not path.address):
            return await self._say(f"501 5.5.4 Syntax: {verb} {'FROM' if verb == 'MAIL' else 'TO'}:<address>")
        if refusal := self._refusal(verb, path, transaction):
            return await self._say(refusal)
        usual = "250 2.1.0 Ok"
        if transaction is not None:
            grey = self._script.greylisted(transaction.reverse.address, path.address)
            usual = "450 4.2.0 Greylisted" if grey else "250 2.1.5 Ok"
        if await self._answer(verb, (path.address,), usual) == b"2":
            if transaction is None:
                self._transaction = _Transaction(path)
            else:
                transaction.forward.append(path)
        return None

    def _refusal(self, verb: str, path: _Path, transaction: _Transaction | None) -> str | None:
        for parameter in path.parameters:
            keyword, _, value = parameter.upper().partition("=")
            if _PARAMETERS[verb].get(keyword) not in self._offered:
                return f"555 5.5.4 Not offered: {keyword}"
            if keyword == "SIZE" and not (value.isascii() and value.isdigit()):
                return "501 5.5.4 Syntax: SIZE=octets"
            if keyword == "SIZE" and int(value[:20]) > self._terms.size_limit:
                return "552 5.3.4 Message too big"
        mail = path if transaction is None else transaction.reverse
        if not path.address.isascii() and "SMTPUTF8" not in (item.upper() for item in mail.parameters):
            return "553 5.6.7 Non-ASCII address without SMTPUTF8"
        return None

    async def _data(self) -> None:
        transaction = self._transaction
        if transaction is None:
            return await self._say("503 5.5.1 Bad sequence of commands")
        if not transaction.forward:
            return await self._say("554 5.5.1 No valid recipients")
        if await self._answer("DATA", transaction.recipients, "354 End data with <CR><LF>.<CR><LF>") != b"3":
            return None
        content = await self._wire.content(self._terms.size_limit)
        self._transaction = None
        if content is None:
            return await self._say("552 5.3.4 Message too big")
        self._contents += 1
        usual = f"250 2.0.0 Ok: queued as {self._number}-{self._contents}"
        reply = self._script.choose("DOT", transaction.recipients, self._worded(usual))
        if code_class(reply) == b"2":
            # Before the reply goes out: a client that is gone by then will come again, and that must show.
            await self._records.keep(self._received(transaction, content))
        await self._perform(reply)
        return None

    def _received(self, transaction: _Transaction, content: bytes) -> Received:
        return Received(
            reverse_path=transaction.reverse.address,
            mail_parameters=transaction.reverse.parameters,
            recipients=transaction.recipients,
            rcpt_parameters=tuple(path.parameters for path in transaction.forward),
            content=content,
            tls=self._wire.tls_version is not None,
            tls_version=self._wire.tls_version,
            helo=self._helo,
            peer=self._wire.peer,
            connection=self._number,
            received_at=self._terms.clock(),
        )

    async def _answer(self, verb: str, subjects: Sequence[str], usual: str) -> bytes:
        """Give the scripted answer or the usual one; the first digit of what was given."""
        reply = self._script.choose(verb, subjects, self._worded(usual))
        await self._perform(reply)
        return code_class(reply)

    async def _say(self, reply: str) -> None:
        await self._perform(rendered(self._worded(reply)))

    def _worded(self, reply: str) -> str:
        """Without its enhanced status code where those were not offered."""
        if Extension.ENHANCED_STATUS_CODES in self._offered:
            return reply
        return re.sub(r"^(\d{3} )\d\.\d{1,3}\.\d{1,3} ", r"\1", reply)

    async def _perform(self, reply: bytes | Behaviour) -> None:
        match reply:
            case Behaviour.HANG:
                await self._wire.discard()
            case Behaviour.CLOSE:
                self._over = True
            case bytes():
                self._over = self._over or reply.startswith(b"421")
                await self._wire.send(reply)


def _fault(line: bytes) -> str | None:
    if len(line) > LINE_LIMIT:
        return "Line too long"
    if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
        return "A line has neither NUL nor a bare CR or LF"
    try:
        line.decode()
    except UnicodeDecodeError:
        return "Not UTF-8"
    return None


def _parsed(verb: str, argument: str) -> _Path | None:
    match = _PATH.fullmatch(argument)
    if match is None or (argument[0] in "Ff") != (verb == "MAIL"):
        return None
    return _Path(match[1], tuple(match[2].split()))
