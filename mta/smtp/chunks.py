"""The content that comes in chunks of a counted size, BDAT's (RFC 3030 §2). Pure: octets in, content out.

Nothing in a chunk ends it but its count, so that a dot on a line of its own is content like any other. All else that is
asked of a content is asked of chunks too, across their borders.
"""

import re
from dataclasses import dataclass

from mta.smtp.content import CRLF, ContentReader

# a count of more digits is of no message on earth, and reading on to its end would never end
_ARGUMENT = re.compile(r"([0-9]{1,18})(?: (LAST))?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What BDAT announces."""

    octets: int
    is_last: bool

    @classmethod
    def parse(cls, argument: str) -> "Chunk":
        """Read `1000` or `0 LAST`.

        Raises:
            ValueError: it is neither, so that nobody knows how many octets follow.
        """
        match = _ARGUMENT.fullmatch(argument)
        if match is None:
            raise ValueError(f"{argument!r} is not the size of a chunk")
        return cls(int(match[1]), match[2] is not None)


class ChunkReader(ContentReader):
    """Reads one content. Feed it all chunks, `finish` it after the last one; then look at `refusal` and `pieces`."""

    __slots__ = ("_held",)

    def __init__(
        self, max_size: int, *, take_long_lines: bool = False, as_it_is: bool = False, keep: int | None = None
    ) -> None:
        """`as_it_is`: take bare line ends, NULs and long lines; `keep`: octets from the beginning that are kept."""
        super().__init__(max_size, take_long_lines=take_long_lines, as_it_is=as_it_is, keep=keep)
        self._held = b""

    def feed(self, octets: bytes) -> None:
        """Take octets of a chunk, as many as have come."""
        block = self._held + octets
        # a chunk may end between CR and LF
        self._held = b"\r" if block.endswith(b"\r") else b""
        self._add(block[: len(block) - len(self._held)] if self._held else block)

    def finish(self) -> None:
        """The last chunk has come. A content whose last line has no end is given one.

        By DATA it could not have come otherwise, and by DATA it goes on (RFC 5321 §4.1.1.4); a signature over it holds
        as before, since the canonical body ends in CRLF in any case (RFC 6376 §3.4.3).
        """
        if self._held:
            held, self._held = self._held, b""
            self._add(held)
        if self.refusal is None and not self._ends_line:
            self._add(CRLF)
