"""The content that follows DATA, taken apart as it arrives (RFC 5321 §4.1.1.4, §4.5.2). Pure: octets in, content out.

Works on pieces as large as they come, with searches that run at the speed of C, in linear time however the pieces are
cut. Only CRLF.CRLF ends the content: a bare CR or LF never does, and makes the message refused after reading on to the
real end, so that client and server keep in step (the smuggling of CVE-2023-51764, CVE-2023-51766, CVE-2024-27305). A
door that hands nothing on to other servers may take such content, and keep no more of it than it wants to read.
"""

from mta.mail import failures
from mta.mail.reply import Reply
from mta.queue.model import Content
from mta.smtp.content import CRLF, ContentReader

_DOT = b"\r\n."
_END = b"\r\n.\r\n"


class DataReader(ContentReader):
    """Reads one content. Feed it until it returns what stands behind the end; then look at `refusal` and `pieces`."""

    __slots__ = ("_held", "_skip")

    def __init__(
        self, max_size: int, *, take_long_lines: bool = False, as_it_is: bool = False, keep: int | None = None
    ) -> None:
        """`as_it_is`: take bare line ends, NULs and long lines; `keep`: octets from the beginning that are kept."""
        super().__init__(max_size, take_long_lines=take_long_lines, as_it_is=as_it_is, keep=keep)
        # the CRLF of the DATA command itself: a content may begin with its end, or with a stuffed dot
        self._held = CRLF
        self._skip = len(CRLF)

    def feed(self, octets: bytes) -> bytes | None:
        """Take octets. None: the end has not come; else what stands behind it, which is no part of the content."""
        block = self._held + octets
        # most pieces have no line that begins with a dot, and are not searched again
        dot = block.find(_DOT)
        end = block.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            whole = block[: end + len(CRLF)]
            if dot < end:
                self._unstuff(whole)
            else:
                self._take(whole)
            return block[end + len(_END) :]
        held = _beginning_of_end(block)
        self._held = block[len(block) - held :]
        text = block[: len(block) - held]
        if dot < 0:
            self._take(text)
        else:
            self._unstuff(text)
        return None

    def _unstuff(self, block: bytes) -> None:
        """Take a block that neither ends in CR nor cuts a CRLF in two, nor a line's first dot from what is before."""
        if self.refusal is not None or not block:
            return
        self._take(block.replace(_DOT, CRLF))

    def _take(self, text: bytes) -> None:
        """Take a text without stuffed dots, of which the CRLF before the content is no part."""
        if self._skip and text:
            text, self._skip = text[self._skip :], 0
        self._add(text)


def split_header(pieces: tuple[bytes, ...], limit: int) -> Content | Reply:
    """Return the header section and the body apart, or a refusal when the header is over `limit` octets.

    Only as much is copied as the header needs; body pieces stay as they are.
    """
    if pieces and pieces[0].startswith(CRLF):
        return Content(b"", _nonempty(pieces[0][2:], pieces[1:]))
    head = b""
    for number, piece in enumerate(pieces):
        searched = max(0, len(head) - 3)
        head += piece
        end = head.find(CRLF * 2, searched)
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
