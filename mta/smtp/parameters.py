"""The arguments of MAIL and RCPT: a path, and ESMTP parameters (RFC 5321 §4.1.1.11). Pure.

Parameters keep their case, which some values need. What every door offers is read here; the rest, and what a path may
be, is each door's own.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from mta.mail import failures
from mta.mail.envelope import BodyType
from mta.mail.reply import Reply

MAX_PARAMETERS = 20
MAX_LINE = 512
"""Octets of a command without extensions, CRLF included (RFC 5321 §4.5.3.1.4)."""
SMTPUTF8_ROOM = 10
"""Octets by which SMTPUTF8 lengthens RCPT, and MAIL (RFC 6531 §3.1)."""
MAIL_ROOM = 26 + 17 + SMTPUTF8_ROOM
"""Octets by which SIZE (RFC 1870 §3), BODY (RFC 6152 §2) and SMTPUTF8 lengthen MAIL."""

Entry = TypeVar("Entry")

# up to the bracket that closes the path: in a quoted local part there may be others
_PATH = re.compile(r'<(?:[^">]|"(?:[^"\\]|\\.)*")*>')
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+|[^\x00-\x20=\x7f]+))?")
_DIGITS = re.compile(r"[0-9]{1,20}")


class Refused(Exception):
    """An argument is refused; the reply says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


class Argument(Struct, frozen=True):
    """What follows a verb, taken apart."""

    path: str
    """With its brackets; not yet read."""
    parameters: Mapping[str, str | None]
    """By upper-case name, in the order they came; None: without a value."""


def split(argument: str, keyword: str, *, forgive_blank: bool = False) -> Argument:
    """Take an argument apart: a keyword (`FROM:`), a path in brackets, parameters.

    A blank before the path (`MAIL FROM: <a@b>`) breaks RFC 5321 §3.3: no mail library of today sends it, some old hosts
    do, so it is each door's to forgive.

    Raises:
        Refused: it is malformed.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise Refused(failures.BAD_SYNTAX)
    rest = argument[len(keyword) :]
    if forgive_blank:
        rest = rest.lstrip(" ")
    if not rest.startswith("<"):
        raise Refused(failures.BAD_SYNTAX)
    match = _PATH.match(rest)
    path = match[0] if match else rest
    tail = rest[len(path) :]
    if tail and not tail.startswith(" "):
        raise Refused(failures.BAD_SYNTAX)
    return Argument(path, _parameters(tail))


def known(table: Mapping[str, Entry], name: str) -> Entry:
    """Return a parameter's entry.

    Raises:
        Refused: it was not offered.
    """
    if name not in table:
        raise Refused(failures.unknown_parameter(name))
    return table[name]


def size(value: str | None) -> int:
    """Return the declared size (RFC 1870 §5): ASCII digits and nothing else.

    Raises:
        Refused: it is none.
    """
    if value is None or not _DIGITS.fullmatch(value):
        raise Refused(failures.bad_parameter("SIZE"))
    return int(value)


def body(value: str | None) -> BodyType:
    """Return the value of BODY (RFC 6152 §2). BINARYMIME is not offered: nothing here is without lines.

    Raises:
        Refused: it is none that is known.
    """
    if value is None or value.upper() not in (BodyType.SEVEN_BIT, BodyType.EIGHT_BIT):
        raise Refused(failures.bad_parameter("BODY"))
    return BodyType(value.upper())


def smtputf8(value: str | None) -> bool:
    """Return True: SMTPUTF8 has no value (RFC 6531 §3.4).

    Raises:
        Refused: it has one.
    """
    if value is not None:
        raise Refused(failures.bad_parameter("SMTPUTF8"))
    return True


def _parameters(text: str) -> Mapping[str, str | None]:
    found: dict[str, str | None] = {}
    for part in filter(None, text.split(" ")):
        match = _PARAMETER.fullmatch(part)
        if match is None or len(found) >= MAX_PARAMETERS:
            raise Refused(failures.BAD_SYNTAX)
        name = match[1].upper()
        # only an address may be anything but ASCII (RFC 6533 §3); some other letters become ASCII in upper case
        if name in found or not (part.isascii() or name == "ORCPT"):
            raise Refused(failures.bad_parameter(name))
        found[name] = match[2]
    return found
