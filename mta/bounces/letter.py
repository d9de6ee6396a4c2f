"""A message that a stranger sent, taken apart within limits: its header, its texts, and the attached reports.

The standard library's parser does the work; sizes, depths and counts are checked before and while it works, since it
has no limits of its own and some of its corners take quadratic time. What the parts mean is `reading`'s business.
"""

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import MessageError
from email.feedparser import BytesFeedParser
from email.header import decode_header
from email.message import Message
from email.policy import Policy, compat32
from typing import Self

from mta.mail.header import Header

MAX_SIZE = 1024 * 1024
MAX_HEADER = 64 * 1024
MAX_DEPTH = 20
MAX_PARTS = 200
MAX_LINES = 40_000
"""Each line is compared with every boundary around it."""
MAX_TEXT = 64 * 1024
"""Letters of one part that are looked at: what a report has to say stands on top."""
MAX_FIELD = 4000

# codecs whose time is linear; punycode and idna are not, and unicode_escape reads what nobody wrote
_CHARSET = re.compile(r"(?:us-)?ascii|utf|iso|latin|windows|cp|mac|koi8|big5|gb|euc|shift_jis", re.IGNORECASE)
_RETURNED = frozenset(
    {"message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}
)
_TAG = re.compile(r"<(?:/?[a-zA-Z]|!)[^<>]{0,2000}>")
_BREAK = re.compile(r"</?(?:br|p|div|tr|td|li|h[1-3]|hr|title)\b[^<>]{0,2000}>", re.IGNORECASE)
_UNSEEN = re.compile(r"<(style|script)\b[^<>]{0,2000}>[^<]{0,65536}", re.IGNORECASE)


class Unreadable(ValueError):
    """The message is outside the limits, or the parser cannot make anything of it."""


@dataclass(slots=True)
class _Budget:
    """What one message may still use."""

    parts: int = MAX_PARTS


class _Part(Message):
    """What the parser builds: it counts itself, and passes for text unless it is a multipart.

    So nothing inside an attached message is taken apart, and a status report keeps its octets.
    """

    def __init__(self, policy: "Policy[Message]", budget: _Budget) -> None:
        super().__init__(policy)
        self._budget = budget
        self._depth = 0
        self._header = 0

    def attach(self, payload: Message) -> None:  # type: ignore[override]  # the parser attaches nothing else
        self._budget.parts -= 1
        payload._depth = self._depth + 1  # type: ignore[attr-defined]  # made by our factory
        if self._budget.parts < 0:
            raise Unreadable(f"more than {MAX_PARTS} parts")
        if self._depth >= MAX_DEPTH:
            raise Unreadable(f"parts nested more than {MAX_DEPTH} deep")
        super().attach(payload)

    def set_raw(self, name: str, value: str) -> None:
        self._header += len(name) + len(value)
        if self._header > MAX_HEADER:
            raise Unreadable(f"a header of more than {MAX_HEADER} octets")
        # parameters are read in quadratic time
        super().set_raw(name, value[:MAX_FIELD] if name.lower().startswith("content-") else value)

    @property
    def kind(self) -> str:
        """The declared type, in lower case."""
        return super().get_content_type()

    def get_content_type(self) -> str:
        return self.kind if self.kind.startswith("multipart/") else "text/plain"


@dataclass(frozen=True, slots=True)
class Body:
    """One part that is not itself made of parts."""

    kind: str
    """Its media type."""
    text: str
    """Decoded, line ends as LF, cut."""

    @property
    def is_returned(self) -> bool:
        """Whether it is a message sent back, or its header."""
        return self.kind in _RETURNED


@dataclass(frozen=True, slots=True)
class Letter:
    """A message, taken apart."""

    kind: str
    """Its own media type."""
    report_type: str
    """Of a multipart/report (RFC 6522 §3); else empty."""
    bodies: tuple[Body, ...]
    _fields: dict[str, list[str]] = field(repr=False)

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Take a message apart; line ends may be any.

        Raises:
            Unreadable: it is too large, too deep or has too many parts, or breaks the parser.
        """
        if len(octets) > MAX_SIZE:
            raise Unreadable(f"more than {MAX_SIZE} octets")
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n")
        if octets.count(b"\n") > MAX_LINES:
            raise Unreadable(f"more than {MAX_LINES} lines")
        budget = _Budget()

        def part(policy: "Policy[Message]" = compat32) -> _Part:
            return _Part(policy, budget)

        parser = BytesFeedParser(part)
        try:
            parser.feed(octets)
            root = parser.close()
            bodies = tuple(_bodies(root))
            report_type = str(root.get_param("report-type", "")) if root.kind == "multipart/report" else ""
        except Unreadable:
            raise
        # the parser's corners raise what they like on hostile input, and no stranger's message may stop us
        except Exception as error:
            raise Unreadable(f"the parser fails: {type(error).__name__}") from error
        return cls(root.kind, report_type.lower(), bodies, _collect(root))

    def field(self, name: str) -> str:
        """Return the first field of a name, decoded, on one line; empty if there is none."""
        return next(iter(self.fields(name)), "")

    def fields(self, name: str) -> list[str]:
        """Return all fields of a name, decoded, each on one line."""
        return [decoded(value) for value in self._fields.get(name.lower(), [])]

    def first(self, *kinds: str) -> str | None:
        """Return the text of the first body of some kinds."""
        return next((body.text for body in self.bodies if body.kind in kinds), None)

    @property
    def returned(self) -> Header:
        """The header of the message that was sent back, if there is one."""
        return next((returned_header(body.text) for body in self.bodies if body.is_returned), Header(()))

    @property
    def prose(self) -> str:
        """What a person would read before coming to a message that was sent back."""
        plain, marked = [], []
        for body in self.bodies:
            if body.is_returned:
                break
            if body.kind == "text/html":
                marked.append(_without_markup(body.text))
            # a multipart whose boundary is nowhere stays one text
            elif body.kind.startswith(("text/", "multipart/")):
                plain.append(body.text)
        return "\n".join(plain if any(text.strip() for text in plain) else marked)


def returned_header(text: str) -> Header:
    """Return the header on top of a message."""
    top = text.lstrip("\n").partition("\n\n")[0]
    octets = top.replace("\n", "\r\n").encode("utf-8", "replace")
    return Header.parse(octets[:MAX_HEADER])


def decoded(value: str) -> str:
    """Return a field's value with its encoded words read (RFC 2047 §6), on one line, cut."""
    value = " ".join(value[:MAX_FIELD].split())
    try:
        pieces = decode_header(value) if "=?" in value else [(value, None)]
        text = "".join(piece if isinstance(piece, str) else _characters(piece, charset) for piece, charset in pieces)
    except (MessageError, ValueError, LookupError):
        text = value
    return " ".join(_characters(text.encode("utf-8", "surrogateescape"), "utf-8").split())


def _collect(root: Message) -> dict[str, list[str]]:
    collected: dict[str, list[str]] = {}
    for name, value in root.raw_items():
        collected.setdefault(name.lower(), []).append(str(value))
    return collected


def _bodies(part: _Part) -> Iterator[Body]:
    payload = part.get_payload()
    if isinstance(payload, list):
        for child in payload:
            if isinstance(child, _Part):
                yield from _bodies(child)
    else:
        octets = part.get_payload(decode=True)
        text = _characters(octets, part.get_param("charset")) if isinstance(octets, bytes) else ""
        yield Body(part.kind, text)


def _characters(octets: bytes, charset: object) -> str:
    """Decode text: as declared, as UTF-8, as declared with marks where it fails, as Latin-1."""
    octets = octets[: MAX_TEXT * 2]
    name = charset if isinstance(charset, str) and _CHARSET.match(charset) else "ascii"
    for codec, errors in ((name, "strict"), ("utf-8", "strict"), (name, "replace")):
        if (codec, errors) == ("ascii", "replace"):
            continue
        try:
            return codecs.lookup(codec).decode(octets, errors)[0][:MAX_TEXT]
        except (LookupError, ValueError):
            continue
    return octets.decode("latin-1")[:MAX_TEXT]


def _without_markup(text: str) -> str:
    # blanks of the source mean nothing, breaks are marked
    flat = " ".join(_UNSEEN.sub("", text).split())
    return html.unescape(_TAG.sub("", _BREAK.sub("\n", flat))).replace("\xa0", " ")
