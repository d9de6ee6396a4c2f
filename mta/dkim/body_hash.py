"""The hash of a message body as DKIM sees it: relaxed canonicalisation, piece by piece (RFC 6376 §3.4.4).

Bodies of any size and any content cost linear time and constant memory. Lengths (l=) are not known here: a
signature covers the whole body.
"""

import hashlib

from mta.mail.digest import absorb

_WINDOW = 65536  # bounds the halving passes over one long run of blanks, and the copies made
_CRLF = b"\r\n"


class RelaxedBodyHash:
    """SHA-256 of a body in relaxed form. Feed the CRLF octets in pieces cut anywhere, then take the digest.

    Text at the end that lacks its CRLF is hashed as if it had one, for transmission adds it. A bare CR or LF is an
    ordinary octet.
    """

    __slots__ = ("_empty_lines", "_hash", "_held", "_started")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._held = b""  # a blank, a CR or both: what they mean depends on the next octet
        self._empty_lines = 0  # CRLFs that count only if text follows, the last text line's own among them
        self._started = False

    def update(self, piece: bytes) -> None:
        """Take the next octets of the body."""
        if len(piece) <= _WINDOW:
            self._take(piece)
            return
        for start in range(0, len(piece), _WINDOW):
            self._take(piece[start : start + _WINDOW])

    def digest(self) -> bytes:
        """The 32 octets of the hash over all that came so far; more may follow. An empty body hashes as b""."""
        final = self._hash.copy()
        rest = self._held.removesuffix(b" ")  # a blank at the end of the last line
        if rest:
            _add_line_ends(final, self._empty_lines)
            final.update(rest)
        if rest or self._started:
            final.update(_CRLF)
        return final.digest()

    def _take(self, piece: bytes) -> None:
        text = _without_blanks(self._held + piece if self._held else piece)
        held = b" \r" if text.endswith(b" \r") else text[-1:] if text.endswith((b" ", b"\r")) else b""
        if held:
            text = text[: -len(held)]
        self._held = held
        lines = _ending_lines(text)
        if len(text) == 2 * lines:
            self._empty_lines += lines
            return
        _add_line_ends(self._hash, self._empty_lines)
        absorb(self._hash, text[: len(text) - 2 * lines])
        self._empty_lines = lines
        self._started = True


def _without_blanks(text: bytes) -> bytes:
    """Runs of blanks made one, those before CRLF none. `replace` is ten times faster than `re`, never quadratic."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    if b" \r" in text:
        text = text.replace(b" \r\n", _CRLF)
    return text


def _ending_lines(text: bytes) -> int:
    """How many whole CRLFs `text` ends with."""
    if not text.endswith(_CRLF):
        return 0
    ends = text[len(text.rstrip(_CRLF)) :]
    start = max(ends.rfind(b"\r\r"), ends.rfind(b"\n\n")) + 1  # after a bare CR or LF; from there on they alternate
    return (len(ends) - start) // 2  # rounding down leaves out an LF that stands first


def _add_line_ends(to: "hashlib._Hash", count: int) -> None:
    while count > 0:
        now = min(count, _WINDOW)
        to.update(_CRLF * now)
        count -= now
