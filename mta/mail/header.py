"""A header section as octets: read, find, leave out, put on top (RFC 5322 §2.2).

A client's header is never rebuilt, since every rebuilding changes something; fields are cut out or put in front, and
the rest stays the octets that came. Every field of ours goes through `field`, which refuses what could begin another.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Self

from msgspec import Struct

MAX_LINE = 998
"""Octets of a line without CRLF (RFC 5322 §2.1.1)."""

_NAME = re.compile(rb"[!-9;-~]+")
_NAMED = re.compile(rb"([!-9;-~]+)[ \t]*:")
_PROPER = re.compile(rb"[!-9;-~]+:")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
# C1 controls and the line separators end a line for some readers of decoded text (str.splitlines is one)
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FOLDED = re.compile(rb"\r\n[ \t]")
_BEGINNING = re.compile(rb"(?<=\r\n)(?![ \t])")
_OTHERS = bytes(set(range(256)) - set(b"\r\n\0"))
_WIDTH = 78
_LONGEST = 80
"""Octets of a name, with its colon, that is remembered."""


class Field(Struct, frozen=True):
    """One field with its folding and its final CRLF. Junk without a colon is a field without a name."""

    raw: bytes

    @property
    def name(self) -> str:
        """The name in lower case; empty for a line that is no field."""
        return read_name(self.raw)[0]

    @property
    def value(self) -> bytes:
        """What stands behind the colon, unfolded and stripped."""
        return _FOLD.sub(b"", self.raw.partition(b":")[2]).strip()

    @property
    def text(self) -> str:
        """The value as text; octets that are no UTF-8 become the replacement character."""
        return self.value.decode("utf-8", "replace")


def read_name(raw: bytes) -> tuple[str, bool]:
    """Return a field's name, and whether it is a proper field.

    One is proper if a colon follows the name directly, as RFC 5322 §2.2 has it and verifiers of DKIM want it.
    """
    end = raw.find(b":", 0, _LONGEST) + 1
    return _remembered_name(raw[:end]) if end else _name_before(raw)


def _name_before(start: bytes) -> tuple[str, bool]:
    named = _NAMED.match(start)
    return (named[1].decode("ascii").lower() if named else "", _PROPER.match(start) is not None)


# the names of fields are few, and each is asked for several times
_remembered_name = lru_cache(maxsize=1024)(_name_before)


class Header(Struct, frozen=True):
    """A header section."""

    fields: tuple[Field, ...]

    def __bytes__(self) -> bytes:
        return b"".join(field.raw for field in self.fields)

    @classmethod
    def parse(cls, octets: bytes) -> Self:
        """Read a header section whose lines end in CRLF, without the blank line behind it. Accepts anything."""
        if not octets:
            return cls(())
        if not octets.endswith(b"\r\n"):
            octets += b"\r\n"
        # a field begins behind each CRLF that no blank follows; a first line that begins with a blank stands alone
        if _FOLDED.search(octets):
            return cls(tuple(Field(part) for part in _BEGINNING.split(octets) if part))
        return cls(tuple([Field(line + b"\r\n") for line in octets[:-2].split(b"\r\n")]))

    def find(self, name: str) -> list[Field]:
        """Return the fields of a name, in order."""
        wanted = name.lower()
        return [field for field in self.fields if field.name == wanted]

    def first(self, name: str) -> Field | None:
        """Return the first field of a name, or None."""
        wanted = name.lower()
        return next((field for field in self.fields if field.name == wanted), None)

    def without(self, names: Iterable[str], prefixes: tuple[str, ...] = ()) -> Self:
        """Return the header without the fields of some names and of names that begin in some way."""
        gone = {name.lower() for name in names}
        lowered = tuple(prefix.lower() for prefix in prefixes)

        def stays(field: Field) -> bool:
            return field.name not in gone and not (lowered and field.name.startswith(lowered))

        return type(self)(tuple(field for field in self.fields if stays(field)))

    def prepended(self, *raws: bytes) -> Self:
        """Return the header with fields on top, each as `field` makes them."""
        return type(self)((*(Field(raw) for raw in raws), *self.fields))

    def appended(self, *raws: bytes) -> Self:
        """Return the header with fields at its end."""
        return type(self)((*self.fields, *(Field(raw) for raw in raws)))


def has_whole_line_ends(octets: bytes) -> bool:
    """Return whether CR and LF stand only side by side, and no octet is NUL (RFC 5321 §2.3.8, §4.1.1.4)."""
    return len(octets.translate(None, _OTHERS)) == 2 * octets.count(b"\r\n")


def split(content: bytes) -> tuple[bytes, bytes]:
    """Return the header section (as `Header.parse` reads it) and the body of a message with CRLF line ends.

    A message that begins with a blank line has no header; one without a blank line has no body. The blank line belongs
    to neither.
    """
    if content.startswith(b"\r\n"):
        return b"", content[2:]
    end = content.find(b"\r\n\r\n")
    return (content, b"") if end < 0 else (content[: end + 2], content[end + 4 :])


@lru_cache(maxsize=128)
def _is_name(name: str) -> bool:
    return name.isascii() and _NAME.fullmatch(name.encode("ascii")) is not None


def field(name: str, *parts: str) -> bytes:
    """Return a field of ours, folded at blanks where it is long, ending in CRLF. Each part begins a line of its own.

    Raises:
        ValueError: the name or the value could change the message's structure (CR, LF, NUL, other controls, lone
            surrogates), or a part without a space is longer than a line may be.
    """
    if not _is_name(name):
        raise ValueError(f"{name!r} is not a field name")
    if any(map(_UNFIT.search, parts)):
        raise ValueError(f"the value of {name} holds a control character")
    if len(parts) > 1 and not all(part.strip() for part in parts):
        raise ValueError(f"the value of {name} has an empty part")
    lines = [f"{name}:"]
    for number, part in enumerate(parts):
        if number:
            lines.append("")
        if len(lines[-1]) + 1 + len(part) <= _WIDTH:
            lines[-1] += f" {part}"
            continue
        for word in part.split(" "):
            # never a line of nothing but blanks (RFC 5322 §3.2.2), nor an empty one behind the colon
            if len(lines[-1]) + 1 + len(word) > _WIDTH and word.strip() and lines[-1].strip() not in ("", f"{name}:"):
                lines.append("")
            lines[-1] += f" {word}"
    octets = "\r\n".join(lines).encode("utf-8")
    if len(octets) > MAX_LINE and max(map(len, octets.split(b"\r\n"))) > MAX_LINE:
        raise ValueError(f"the value of {name} does not fit on a line")
    return octets + b"\r\n"
