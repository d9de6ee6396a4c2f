"""A letter's content on its way to the wire: what it demands of a host, and its form behind DATA and BDAT.

Pieces are handled at C speed, and no copy of the whole is ever made. Nothing is converted or mended here: content that
is not canonical is not sent at all.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Self

from msgspec import Struct

from mta.mail.envelope import BodyType
from mta.queue.seams import Letter

_CRLF = b"\r\n"
_JOIN = 64 * 1024
"""A small message goes out in one write."""


class Shape(Struct, frozen=True):
    """What a letter's octets demand of a host."""

    size: int
    """Octets as sent, dots not doubled (RFC 1870 §3)."""
    eight_bit: bool
    smtputf8: bool
    """Not merely declared by the client: an address or the header has it (RFC 6531 §3.2)."""
    canonical: bool
    """No CR without LF, no LF without CR, no NUL, and the header ends where it should. Anything else could be read as
    another message by a host with other ideas of a line end ("SMTP smuggling")."""

    @classmethod
    def of(cls, letter: Letter) -> Self:
        """Look at a letter."""
        header = letter.signature + letter.content.header
        pieces = (header, _CRLF, *letter.content.body)
        paths = [letter.recipient.mailbox, *([letter.reverse_path] if letter.reverse_path else [])]
        if letter.others:
            paths += [one.mailbox for one in letter.others]
        return cls(
            size=sum(map(len, pieces)),
            eight_bit=not all(piece.isascii() for piece in pieces),
            smtputf8=not all(path.is_ascii for path in paths) or (letter.message.smtputf8 and not header.isascii()),
            canonical=_is_header(letter.signature) and _is_header(letter.content.header) and is_canonical(pieces),
        )


def declares_eight_bit(letter: Letter, shape: Shape) -> bool:
    """Whether MAIL says BODY=8BITMIME: the client did, or the octets are so (RFC 6152 §3)."""
    return shape.eight_bit or letter.message.body_type is not BodyType.SEVEN_BIT


def is_canonical(pieces: Iterable[bytes]) -> bool:
    """Whether CR and LF stand only together, and NUL nowhere, however the octets are cut into pieces."""
    after_cr = False
    for piece in pieces:
        if not piece:
            continue
        if after_cr != piece.startswith(b"\n"):
            return False
        pairs = piece.count(_CRLF)
        ends_in_cr = piece.endswith(b"\r")
        if piece.count(b"\n") - after_cr != pairs or piece.count(b"\r") - ends_in_cr != pairs or b"\0" in piece:
            return False
        after_cr = ends_in_cr
    return not after_cr


def blocks(letter: Letter) -> Iterator[bytes]:
    """Return what is sent behind DATA, all but the final dot and its CRLF."""
    head = letter.signature + letter.content.header + _CRLF
    body = letter.content.body
    if body and len(head) + len(body[0]) <= _JOIN:
        return stuffed((head + body[0], *body[1:]))
    return stuffed(chain((head,), body))


def chunks(letter: Letter) -> Iterator[bytes]:
    """Return what is sent behind BDAT (RFC 3030 §2): the very octets, a small message in one piece."""
    head = letter.signature + letter.content.header + _CRLF
    body = [piece for piece in letter.content.body if piece]
    if body and len(head) + len(body[0]) <= _JOIN:
        yield head + body[0]
        yield from body[1:]
    else:
        yield head
        yield from body


def stuffed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Double the dot at the begin of each line (RFC 5321 §4.5.2); give a last line its CRLF if it has none."""
    tail = _CRLF
    for piece in pieces:
        if not piece:
            continue
        # a line end may be cut in two by the border of the pieces
        if tail == _CRLF and piece.startswith(b"."):
            opening, rest = b".", piece
        elif tail.endswith(b"\r") and piece.startswith(b"\n."):
            opening, rest = b"\n.", piece[1:]
        else:
            opening, rest = b"", piece
        block = rest.replace(b"\r\n.", b"\r\n..")
        yield opening + block if opening else block
        tail = (tail + piece)[-2:] if len(piece) < len(_CRLF) else piece[-2:]
    if tail != _CRLF:
        yield _CRLF


def _is_header(octets: bytes) -> bool:
    # an empty line inside would begin the body too early
    return not octets or (octets.endswith(_CRLF) and not octets.startswith(_CRLF) and b"\r\n\r\n" not in octets)
