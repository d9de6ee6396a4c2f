"""The content that follows DATA, taken apart as it arrives (RFC 5321 §4.1.1.4, §4.5.2). Pure: octets in, content out.

Works on pieces as large as they come, with searches that run at the speed of C, in linear time however the pieces are
cut. Only CRLF.CRLF ends the content: a bare CR or LF never does, and makes the message refused after reading on to the
real end, so that client and server keep in step (the smuggling of CVE-2023-51764, CVE-2023-51766, CVE-2024-27305). A
door that hands nothing on to other servers may take such content, and keep no more of it than it wants to read.
"""

from mta.mail import failures
from mta.mail.header import MAX_LINE
from mta.mail.reply import Reply
from mta.queue.model import Content

_END = b"\r\n.\r\n"
_CRLF = b"\r\n"


class DataReader:
    """Reads one content. Feed it until it returns what stands behind the end; then look at `refusal` and `pieces`."""

    __slots__ = (
        "_as_it_is",
        "_column",
        "_held",
        "_keep",
        "_max_size",
        "_open",
        "_pieces",
        "_skip",
        "_take_long_lines",
        "refusal",
        "size",
    )

    def __init__(
        self, max_size: int, *, take_long_lines: bool = False, as_it_is: bool = False, keep: int | None = None
    ) -> None:
        """`as_it_is`: take bare line ends, NULs and long lines; `keep`: octets from the beginning that are kept."""
        self._max_size = max_size
        self._take_long_lines = take_long_lines
        self._as_it_is = as_it_is
        self._keep = keep
        # the CRLF of the DATA command itself: a content may begin with its end, or with a stuffed dot
        self._held = _CRLF
        self._skip = len(_CRLF)
        self._column = 0
        self._open = bytearray()
        self._pieces: list[bytes] = []
        self.size = 0
        """Octets of content so far, dot-stuffing undone."""
        self.refusal: Reply | None = None
        """Why the message cannot be taken; nothing is stored any more."""

    def feed(self, octets: bytes) -> bytes | None:
        """Take octets. None: the end has not come; else what stands behind it, which is no part of the content."""
        block = self._held + octets
        end = block.find(_END)
        if end >= 0:
            self._take(block[: end + len(_CRLF)])
            return block[end + len(_END) :]
        held = _beginning_of_end(block)
        self._held = block[len(block) - held :]
        self._take(block[: len(block) - held])
        return None

    def pieces(self) -> tuple[bytes, ...]:
        """Return what is kept of the content, in pieces of at most `Content.PIECE` octets; nothing if it is refused."""
        if self._open:
            self._cut()
        return tuple(self._pieces)

    def _take(self, block: bytes) -> None:
        """Take a block that neither ends in CR nor cuts a CRLF in two, nor a line's first dot from what is before."""
        if self.refusal is not None or not block:
            return
        text = block.replace(b"\r\n.", _CRLF)
        self.refusal = None if self._as_it_is else self._flaw(text)
        if self._skip:
            text, self._skip = text[self._skip :], 0
        kept = self.size
        self.size += len(text)
        if self.refusal is None and self.size > self._max_size:
            self.refusal = failures.TOO_LARGE
        if self.refusal is not None:
            self._open.clear()
            self._pieces.clear()
            return
        self._open += text if self._keep is None else text[: max(0, self._keep - kept)]
        while len(self._open) >= Content.PIECE:
            self._cut()

    def _flaw(self, text: bytes) -> Reply | None:
        line_ends = text.count(_CRLF)
        if text.count(b"\r") != line_ends or text.count(b"\n") != line_ends or b"\0" in text:
            return failures.BARE_LINE_END
        return None if self._take_long_lines or self._lines_fit(text) else failures.LONG_LINE

    def _lines_fit(self, text: bytes) -> bool:
        """Whether no line is over MAX_LINE octets, hopping from line end to line end as far as one may be."""
        start = -self._column
        while start + MAX_LINE < len(text):
            end = text.rfind(_CRLF, max(start, 0), start + MAX_LINE + len(_CRLF))
            if end < 0:
                return False
            start = end + len(_CRLF)
        last = text.rfind(_CRLF, max(start, 0))
        self._column = len(text) - (last + len(_CRLF) if last >= 0 else start)
        return True

    def _cut(self) -> None:
        self._pieces.append(bytes(self._open[: Content.PIECE]))
        del self._open[: Content.PIECE]


def split_header(pieces: tuple[bytes, ...], limit: int) -> Content | Reply:
    """Return the header section and the body apart, or a refusal when the header is over `limit` octets.

    Only as much is copied as the header needs; body pieces stay as they are.
    """
    if pieces and pieces[0].startswith(_CRLF):
        return Content(b"", _nonempty(pieces[0][2:], pieces[1:]))
    head = b""
    for number, piece in enumerate(pieces):
        searched = max(0, len(head) - 3)
        head += piece
        end = head.find(_CRLF * 2, searched)
        if end >= 0:
            if end + 2 > limit:
                return failures.HEADER_TOO_LARGE
            return Content(head[: end + 2], _nonempty(head[end + 4 :], pieces[number + 1 :]))
        if len(head) > limit:
            return failures.HEADER_TOO_LARGE
    return Content(head, ())


def _nonempty(first: bytes, rest: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if len(first) > Content.PIECE:
        return (first[: Content.PIECE], first[Content.PIECE :], *rest)
    return (first, *rest) if first else rest


def _beginning_of_end(block: bytes) -> int:
    """How many octets at the end of a block may be the beginning of the content's end."""
    for length in range(len(_END) - 1, 0, -1):
        if block.endswith(_END[:length]):
            return length
    return 0
