"""SMTP replies and enhanced status codes as values (RFC 5321 §4.2, RFC 3463 §2).

Replies of remote hosts are hostile text: whatever becomes a `Reply` is free of control characters and bounded, so that
it can go into a log, a DSN or a header of ours.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Self

from msgspec import Struct

MAX_TEXT = 2000
"""Characters of a reply's text that are kept; Postfix keeps about as much."""
MAX_LINE = 510
"""Octets of a line that we send, without CRLF (RFC 5321 §4.5.3.1.5)."""
_SHORT = 120
"""Characters of a text that fits on a line however many octets they take."""

_STATUS = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?=\s|$)")
# the last two ranges turn the direction of writing: a log line that reads backwards
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class EnhancedStatus(Struct, frozen=True):
    """Class, subject and detail (RFC 3463 §2)."""

    klass: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.klass}.{self.subject}.{self.detail}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `5.1.1`.

        Raises:
            ValueError: the text is no enhanced status code.
        """
        match = _STATUS.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not an enhanced status code")
        return cls(int(match[1]), int(match[2]), int(match[3]))


class Reply(Struct, frozen=True):
    """One reply, of one or several lines."""

    code: int
    status: EnhancedStatus | None
    text: str
    """Without codes; lines joined by a line feed."""

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"{self.code} is not a reply code")

    def __str__(self) -> str:
        """The reply on one line, as logs and DSNs show it."""
        return " ".join(part for part in (str(self.code), str(self.status or ""), self.text.replace("\n", " ")) if part)

    @property
    def is_positive(self) -> bool:
        """2yz or 3yz."""
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        """4yz: try again (RFC 5321 §4.2.1)."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: do not try again in this form (RFC 5321 §4.2.1)."""
        return self.code >= 500

    def lines(self) -> list[str]:
        """Return the lines to send, without line ends; each carries the codes (RFC 2034 §4), none is too long."""
        prefix = f"{self.status} " if self.status else ""
        if len(self.text) < _SHORT and "\n" not in self.text:
            return [f"{self.code} {prefix}{self.text}"]
        texts = self.text.split("\n")
        lines = [f"{self.code}{' ' if i == len(texts) - 1 else '-'}{prefix}{line}" for i, line in enumerate(texts)]
        return [line.encode()[:MAX_LINE].decode("utf-8", "ignore") for line in lines]

    @classmethod
    def of(cls, code: int, status: str, text: str) -> Self:
        """Build a reply of our own, `Reply.of(550, "5.7.1", "Not yours")`. Its text is cleaned."""
        return cls(code, _status(status), clean(text))

    @classmethod
    def parse(cls, code: int, texts: Iterable[str]) -> Self:
        """Read what a remote host said: its code and the text of each line, which may begin with an enhanced code.

        Raises:
            ValueError: the code is out of range.
        """
        status: EnhancedStatus | None = None
        kept = []
        for text in texts:
            match = _STATUS.match(text)
            # an enhanced code of another class than the reply's is noise (RFC 2034 §4)
            if match and int(match[1]) == code // 100:
                status = status or _status(match[0])
                text = text[match.end() :].lstrip()
            kept.append(clean(text))
        return cls(code, status, "\n".join(kept)[:MAX_TEXT].rstrip("\n"))


# there are few, and each is read many times
_status = lru_cache(maxsize=1024)(EnhancedStatus.parse)


def clean(text: str) -> str:
    """Return text without control characters, turned writing and lone surrogates: they become `?`."""
    return _CONTROL.sub("?", text)
