"""Contents behind DATA: any octets, cut anywhere, are read as the slow and obvious reader reads them."""

from collections.abc import Iterator

from fuzz import reference
from mta.mail import failures
from mta.mail.header import Header
from mta.mail.reply import Reply
from mta.queue.model import Content
from mta.smtp.chunks import ChunkReader
from mta.smtp.data import DataReader, split_header

MAX_SIZE = 3000
MAX_HEADER = 500
_FLAWS = {failures.BARE_LINE_END: "line end", failures.LONG_LINE: "long line", failures.TOO_LARGE: "size"}


def check(octets: bytes) -> None:
    """The first octet says how the others are cut, the second by what a run of letters is made long."""
    cuts, octets = octets[:2], octets[2:]
    # lines of 998 octets are rare among random ones
    octets = octets.replace(b"XX", b"x" * (cuts[-1] * 8 if cuts else 990))
    expected = reference.read(octets, MAX_SIZE)
    reader = DataReader(MAX_SIZE)
    fed, behind = 0, None
    for piece in _pieces(octets, cuts):
        behind = reader.feed(piece)
        fed += len(piece)
        if behind is not None:
            behind += octets[fed:]
            break
    if expected is None:
        assert behind is None
        return
    assert behind == expected.behind
    _check_content(reader, expected)
    _check_chunks(expected.content, cuts)


def _check_content(reader: DataReader, expected: reference.Read) -> None:
    if expected.flaws:
        # of several flaws, which one is told depends on which is seen first
        assert reader.refusal is not None
        assert _FLAWS[reader.refusal] in expected.flaws
        assert reader.pieces() == ()
        return
    assert reader.refusal is None
    pieces = reader.pieces()
    assert b"".join(pieces) == expected.content
    assert reader.size == len(expected.content)
    assert all(0 < len(piece) <= Content.PIECE for piece in pieces)
    _check_header(pieces, expected.content)


def _check_header(pieces: tuple[bytes, ...], content: bytes) -> None:
    """The header section and the body are all of the content but the blank line between them."""
    parts = split_header(pieces, MAX_HEADER)
    head, blank, body = (b"", b"\r\n", content[2:]) if content.startswith(b"\r\n") else content.partition(b"\r\n\r\n")
    head += b"\r\n" if blank == b"\r\n\r\n" else b""
    if isinstance(parts, Reply):
        assert len(head) > MAX_HEADER
        return
    assert (parts.header, b"".join(parts.body)) == (head, body)
    assert bytes(Header.parse(parts.header)) == parts.header


def _check_chunks(content: bytes, cuts: bytes) -> None:
    """By BDAT, the same content has the same fate."""
    whole, cut = DataReader(MAX_SIZE), ChunkReader(MAX_SIZE)
    whole.feed(content.replace(b"\r\n.", b"\r\n..").join((b"." if content.startswith(b".") else b"", b".\r\n")))
    for piece in _pieces(content, cuts):
        cut.feed(piece)
    cut.finish()
    assert (b"".join(cut.pieces()), cut.refusal is None) == (b"".join(whole.pieces()), whole.refusal is None)


def _pieces(octets: bytes, cuts: bytes) -> Iterator[bytes]:
    """Cut octets at distances that follow from `cuts`, one octet at a time at worst."""
    if not cuts or not cuts[0]:
        yield octets
        return
    at, number, length = 0, 0, cuts[0]
    while at < len(octets):
        step = 1 + (length * (number * number + 1) >> (number % 5)) % 61
        yield octets[at : at + step]
        at, number = at + step, number + 1
