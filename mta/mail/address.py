"""Mailboxes and paths of the envelope (RFC 5321 §4.1.2), and domains as A-labels (RFC 5891).

A local part is opaque (RFC 5321 §2.3.11): it is kept as it came and compared exactly. A domain is lower-cased and
turned into A-labels once, here. Address literals, source routes and undotted postmaster are left to callers that want
them; this grammar refuses them.
"""

import re
from functools import lru_cache
from typing import Self

import idna
from msgspec import Struct

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]"
_UTF8 = r"[^\x00-\x7f]"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"

_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_DOT_STRING_UTF8 = re.compile(rf"(?:{_ATEXT}|{_UTF8})+(?:\.(?:{_ATEXT}|{_UTF8})+)*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"')
_QUOTED_UTF8 = re.compile(rf'"(?:[ !#-\[\]-~]|{_UTF8}|\\[ -~])*"')
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SIMPLE = re.compile(rf"<({_ATEXT}+(?:\.{_ATEXT}+)*)@({_LABEL}(?:\.{_LABEL})*)>")

# what `reply.clean` would change never gets past this door: lone surrogates (from octets that are no UTF-8), controls,
# line separators, and what turns the direction of writing. So an address is shown everywhere as it is
_UNFIT = re.compile(r"[\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# what some libraries take for an IPv4 address or a part of one; no such top-level domain can exist (RFC 3696 §2)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_SHOWN = 80
_REMEMBERED = 128
"""Characters of a name up to which it is worth remembering what it is read as."""

# RFC 5321 §4.5.3.1.1 to §4.5.3.1.3, octets
MAX_LOCAL_PART = 64
MAX_DOMAIN = 255
MAX_PATH = 256


def parse_domain(text: str) -> str:
    """Return a domain name as lower-case A-labels, without a final dot.

    U-labels are converted with the mapping of UTS 46, since people type them; what is ASCII already is taken by its
    letters alone, since hosts with A-labels that no registry would sell today do receive mail.

    Raises:
        ValueError: the text is no domain name, with the text quoted.
    """
    # of the same names each message brings some
    return _domain(text) if len(text) < _REMEMBERED else _domain.__wrapped__(text)


@lru_cache(maxsize=4096)
def _domain(text: str) -> str:
    name = text
    # the wire form has two octets more (RFC 1035 §3.1); what is too long before its conversion is not worth converting
    if len(name) <= MAX_DOMAIN - 2 and not name.isascii():
        try:
            name = idna.encode(text, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            # its text may repeat a label, all letters of it escaped
            raise ValueError(f"{_shown(text)} is not a domain name: {str(error)[:_SHOWN]}") from None
    if len(name) > MAX_DOMAIN - 2 or not _DOMAIN.fullmatch(name):
        raise ValueError(f"{_shown(text)} is not a domain name")
    # four numbers are an address that somebody forgot to bracket
    if _NUMBER.fullmatch(name, name.rfind(".") + 1):
        raise ValueError(f"{_shown(text)} is not a domain name: its last label is a number")
    return name.lower()


class Mailbox(Struct, frozen=True):
    """A local part and a domain (RFC 5321 §4.1.2)."""

    local_part: str
    """As it came, but for quotes that it does not need; compared exactly."""
    domain: str
    """Lower-case A-labels."""

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"

    @property
    def is_ascii(self) -> bool:
        """Whether the mailbox can be used with a host that lacks SMTPUTF8 (RFC 6531 §3.2)."""
        return self.local_part.isascii()

    @classmethod
    def parse(cls, text: str, *, utf8: bool = False) -> Self:
        """Read `local-part@domain`. With `utf8`, a local part may hold UTF-8 (RFC 6531 §3.3).

        Raises:
            ValueError: the text is no mailbox, with the text quoted.
        """
        local_part, at, domain = text.rpartition("@")
        if not at:
            raise ValueError(f"{_shown(text)} has no domain")
        if not utf8 and not text.isascii():
            raise ValueError(f"{_shown(text)} needs SMTPUTF8")
        size = _octets(local_part)
        if not local_part or size > MAX_LOCAL_PART:
            raise ValueError(f"{_shown(text)} has a local part of {size} octets; 1 to {MAX_LOCAL_PART} are allowed")
        shapes = (_DOT_STRING_UTF8, _QUOTED_UTF8) if utf8 else (_DOT_STRING, _QUOTED)
        if not any(shape.fullmatch(local_part) for shape in shapes) or _UNFIT.search(local_part):
            raise ValueError(f"{_shown(text)} has a malformed local part")
        return cls(_least_quoted(local_part), parse_domain(domain))


class ReversePath(Struct, frozen=True):
    """The argument of MAIL FROM: a mailbox, or null for notifications (RFC 5321 §4.5.5)."""

    mailbox: Mailbox | None

    def __str__(self) -> str:
        return "" if self.mailbox is None else str(self.mailbox)

    @property
    def is_null(self) -> bool:
        """Whether nobody wants to hear of a failure."""
        return self.mailbox is None

    @classmethod
    def parse(cls, text: str, *, utf8: bool = False) -> Self:
        """Read `<>` or `<mailbox>`, angle brackets included.

        Raises:
            ValueError: the text is no reverse-path, with the text quoted.
        """
        return cls(None) if text == "<>" else cls(_in_brackets(text, utf8=utf8))


class ForwardPath(Struct, frozen=True):
    """The argument of RCPT TO: a mailbox. Source routes are refused (RFC 5321 §3.6.1 lets us ignore or refuse them)."""

    mailbox: Mailbox

    def __str__(self) -> str:
        return str(self.mailbox)

    @classmethod
    def parse(cls, text: str, *, utf8: bool = False) -> Self:
        """Read `<mailbox>`, angle brackets included.

        Raises:
            ValueError: the text is no forward-path, with the text quoted.
        """
        return cls(_in_brackets(text, utf8=utf8))


def _in_brackets(text: str, *, utf8: bool) -> Mailbox:
    if len(text) > MAX_PATH or _octets(text) > MAX_PATH:
        raise ValueError(f"{_shown(text)} is longer than {MAX_PATH} octets")
    if (simple := _SIMPLE.fullmatch(text)) and len(simple[1]) <= MAX_LOCAL_PART:
        return Mailbox(simple[1], parse_domain(simple[2]))
    if not (text.startswith("<") and text.endswith(">")):
        raise ValueError(f"{_shown(text)} does not stand in angle brackets")
    if text.startswith("<@"):
        raise ValueError(f"{_shown(text)} is a source route")
    mailbox = Mailbox.parse(text[1:-1], utf8=utf8)
    # A-labels may be longer than the U-labels that were typed, and they are what the next host reads
    if _octets(str(mailbox)) > MAX_PATH - 2:
        raise ValueError(f"{_shown(text)} is longer than {MAX_PATH} octets once its domain is in A-labels")
    return mailbox


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _shown(text: str) -> str:
    """Quote text for an error message, which may become a line of a log or a reply: not all of it."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def _least_quoted(local_part: str) -> str:
    """Return a local part with no more quoting than it needs: `"joe"` is joe's mailbox too (RFC 5321 §4.1.2)."""
    if not local_part.startswith('"'):
        return local_part
    plain = re.sub(r"\\(.)", r"\1", local_part[1:-1])
    return plain if _DOT_STRING_UTF8.fullmatch(plain) else local_part
