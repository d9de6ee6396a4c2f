"""Letters as octets, each hard on a client or a server in its own way, and what of each must arrive."""

import base64
import random
from dataclasses import dataclass

from mta.mail.header import Header

ON_THE_WAY = ("x-report-token", "dkim-signature", "dkim-signature", "received")
"""The fields that are put on top of every message, in this order."""

_DATE = b"Date: Mon, 02 Jun 2025 12:00:00 +0200\r\n"
_COMMON = (
    b"From: The App <app@example.com>\r\nTo: a@example.net\r\n"
    + _DATE
    + b"Message-ID: <20250602120000.1@example.com>\r\nMIME-Version: 1.0\r\n"
)
_UTF8 = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
_LATIN1 = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n"
_PICTURE = base64.encodebytes(random.Random(7).randbytes(3_000_000)).replace(b"\n", b"\r\n")


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as a client is given it, with CRLF."""

    name: str
    header: bytes
    body: bytes
    removed: bytes = b""
    """What stands in front of the header and must not arrive."""
    added: tuple[str, ...] = ()
    """Names of the fields that it lacks and that it gets."""
    addressee: str = "a"
    """What the local part of its recipient begins with."""

    @property
    def octets(self) -> bytes:
        """All that is submitted."""
        return self.removed + self.kept

    @property
    def kept(self) -> bytes:
        """All that must arrive, beside what is put on top."""
        return self.header + b"\r\n" + self.body

    def flaw(self, arrived: bytes) -> str:
        """Return how what arrived differs from what may arrive; nothing when it does not."""
        start = len(arrived) - len(self.kept)
        if start < 0 or arrived[start:] != self.kept:
            return f"{self.name}: {_difference(self.kept, arrived[_top(arrived) :])}"
        names = tuple(field.name for field in Header.parse(arrived[:start]).fields)
        expected = ON_THE_WAY + self.added
        return "" if names == expected else f"{self.name}: the fields {names} were put on top, and not {expected}"


def _top(arrived: bytes) -> int:
    """Octets of what is put on every message."""
    return sum(len(field.raw) for field in Header.parse(arrived[:8000]).fields[: len(ON_THE_WAY)])


def _difference(expected: bytes, arrived: bytes) -> str:
    """Where two long texts part: a failed `==` would take minutes to show them."""
    pairs = enumerate(zip(expected, arrived, strict=False))
    at = next((place for place, (one, other) in pairs if one != other), min(len(expected), len(arrived)))
    around = slice(max(0, at - 40), at + 40)
    return (
        f"octet {at} of {len(expected)} is where {arrived[around]!r} arrived for {expected[around]!r}, "
        f"and {len(arrived)} octets in all"
    )


def _long_line(octets: int, name: str = "") -> bytes:
    begin = f"{name}: ".encode() if name else b""
    return begin + b"x" * (octets - len(begin)) + b"\r\n"


def generated(name: str, octets: bytes) -> Letter:
    """Return what a library made as a letter."""
    header, _, body = octets.partition(b"\r\n\r\n")
    return Letter(name, header + b"\r\n", body)


DOTS = Letter(
    "dots",
    _COMMON + b"Subject: Dots\r\n",
    b".\r\n..\r\n.first\r\n...\r\ntext\r\n.\r\n\r\n. \r\n.QUIT\r\nMAIL FROM:<app@example.com>\r\n.\r\n",
)
EIGHT_BIT = Letter("8bit", _COMMON + b"Subject: Plain\r\n" + _UTF8, "Grüße, 日本.\r\n\r\nЗдравствуйте 📮\r\n".encode())
PLAIN = Letter("plain", _COMMON + b"Subject: Plain\r\n", b"Good morning.\r\n")
INTERNATIONAL = Letter(
    "international",
    _COMMON.replace(b"To: a@", "To: jürgen@".encode()) + "Subject: Größe\r\n".encode() + _UTF8,
    "Grüße\r\n".encode(),
    addressee="jürgen",
)
ATTACHMENT = Letter(
    "attachment",
    _COMMON + b'Subject: A picture\r\nContent-Type: multipart/mixed; boundary="=-="\r\n',
    b"--=-=\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n--=-=\r\nContent-Type: image/jpeg\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename*=utf-8''gr%C3%BC%C3%9Fe.jpeg\r\n"
    b"\r\n" + _PICTURE + b"--=-=--\r\n",
)
LETTERS = (
    PLAIN,
    EIGHT_BIT,
    DOTS,
    ATTACHMENT,
    Letter(
        "every octet but NUL, CR and LF",
        _COMMON + b"Subject: Octets\r\n" + _LATIN1,
        bytes(octet for octet in range(1, 256) if octet not in b"\r\n") + b"\r\n",
    ),
    Letter(
        "header in UTF-8",
        _COMMON.replace(b"The App", "Jürgen Größe 📮".encode()) + "Subject: Grüße aus Köln\r\nComments: ✓\r\n".encode(),
        b"See RFC 6532.\r\n",
    ),
    Letter(
        "folded header",
        _COMMON.replace(b"The App <", b'"The\r\n App"\r\n\t<')
        + b"SUBJECT:  two  blanks,\ttabs \t\r\n  and folds\r\n\t \tof blanks \r\nx-empty:\r\n"
        + b"X-Blank: \r\nKeywords:a\r\n",
        b"Good morning.\r\n",
    ),
    Letter(
        "lines of 998 octets",
        _COMMON + b"Subject: Long lines\r\n" + _long_line(998, "X-Long") + b"X-Folded:\r\n " + _long_line(997) + _UTF8,
        _long_line(998) + "é".encode() * 499 + b"\r\n" + b"." + _long_line(997) + _long_line(997) + _long_line(1),
    ),
    Letter("no body", _COMMON + b"Subject: Nothing\r\n", b""),
    Letter("blank lines", _COMMON + b"Subject: Air\r\n", b"\r\n\r\n \r\ntext \t\r\n\r\n\t\r\n\r\n"),
    Letter(
        "fields for us",
        _COMMON + b"Subject: Secrets\r\nX-MT: stays\r\nBccc: stays\r\n",
        b"Bcc: in the body stays\r\n",
        removed=(
            b"Bcc: secret@example.net,\r\n other@example.net\r\nX-MTA-Stream: transactional\r\nx-mta-tag: spring\r\n"
            b"RESENT-BCC: c@example.net\r\nX-MTA-No-Such:\r\n one\r\nBcc:\r\n\td@example.net\r\n"
            b"Return-Path: <app@example.com>\r\n"
        ),
    ),
    Letter(
        "no Date, no Message-ID",
        b"From: app@example.com\r\nTo: a@example.net\r\nSubject: Bare\r\n",
        b"Good morning.\r\n",
        added=("date", "message-id"),
    ),
)
