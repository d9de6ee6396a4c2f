"""A content as it arrives: its octets checked, counted and kept (RFC 5321 §2.3.8). Pure: octets in, content out.

How its end is found differs between DATA and BDAT, and is left to `data` and `chunks`; what a content may hold does
not. The checks are searches at the speed of C over pieces as large as they come, in linear time however they are cut.
"""

from mta.mail import failures
from mta.mail.header import MAX_LINE, has_whole_line_ends
from mta.mail.reply import Reply
from mta.queue.model import Content

CRLF = b"\r\n"


class ContentReader:
    """Keeps one content while nothing speaks against it; look at `refusal` and `pieces` when it has ended."""

    __slots__ = (
        "_as_it_is",
        "_column",
        "_ends_line",
        "_keep",
        "_max_size",
        "_open",
        "_pieces",
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
        self._column = 0
        self._ends_line = True
        self._open = bytearray()
        self._pieces: list[bytes] = []
        self.size = 0
        """Octets of content so far, dot-stuffing undone."""
        self.refusal: Reply | None = None
        """Why the message cannot be taken; nothing is stored any more."""

    def pieces(self) -> tuple[bytes, ...]:
        """Return what is kept of the content, in pieces of at most `Content.PIECE` octets; nothing if it is refused."""
        if self._open:
            self._cut()
        return tuple(self._pieces)

    def would_keep(self, octets: int) -> int:
        """Return how many of so many octets to come would be kept, at most."""
        if self.refusal is not None:
            return 0
        return octets if self._keep is None else max(0, min(octets, self._keep - self.size))

    def refuse(self, reply: Reply) -> None:
        """Keep nothing of it; an earlier refusal stands."""
        self.refusal = self.refusal or reply
        self._open.clear()
        self._pieces.clear()

    def _add(self, text: bytes) -> None:
        """Take octets that end in no CR whose LF may follow, and do not begin with the LF of one before."""
        if self.refusal is not None or not text:
            return None
        flaw = None if self._as_it_is else self._flaw(text)
        kept = self.size
        self.size += len(text)
        if flaw is None and self.size > self._max_size:
            flaw = failures.TOO_LARGE
        if flaw is not None:
            return self.refuse(flaw)
        self._ends_line = text.endswith(CRLF)
        self._open += text if self._keep is None else text[: max(0, self._keep - kept)]
        while len(self._open) >= Content.PIECE:
            self._cut()
        return None

    def _flaw(self, text: bytes) -> Reply | None:
        if not has_whole_line_ends(text):
            return failures.BARE_LINE_END
        return None if self._take_long_lines or self._lines_fit(text) else failures.LONG_LINE

    def _lines_fit(self, text: bytes) -> bool:
        """Whether no line is over MAX_LINE octets, hopping from line end to line end as far as one may be."""
        start = -self._column
        while start + MAX_LINE < len(text):
            end = text.rfind(CRLF, max(start, 0), start + MAX_LINE + len(CRLF))
            if end < 0:
                return False
            start = end + len(CRLF)
        last = text.rfind(CRLF, max(start, 0))
        self._column = len(text) - (last + len(CRLF) if last >= 0 else start)
        return True

    def _cut(self) -> None:
        with memoryview(self._open) as view:
            self._pieces.append(bytes(view[: Content.PIECE]))
        del self._open[: Content.PIECE]
