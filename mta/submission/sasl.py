"""AUTH's mechanisms as exchanges of octets (RFC 4954 §4). Pure: answers go in, challenges and credentials come out."""

import base64
import binascii
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

MAX_LINE = 12288
"""Octets of a client's answer in base64, CRLF included (RFC 4954 §4)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a client says it is, and how it proves that."""

    login: str
    password: bytes = field(repr=False)
    acts_as: str = ""
    """The authorization identity; empty: the same as the login."""


class Malformed(Exception):
    """An answer is base64, but not what the mechanism wants: to be treated as wrong credentials."""


Exchange = Generator[bytes, bytes, Credentials]
"""Yields challenges, is sent answers, returns credentials or raises `Malformed`."""


def plain() -> Exchange:
    """PLAIN (RFC 4616 §2)."""
    answer = yield b""
    parts = answer.split(b"\0")
    if len(parts) != 3:
        raise Malformed
    acts_as, login, password = parts
    return Credentials(_text(login), password, _text(acts_as))


def login() -> Exchange:
    """LOGIN: never standardised, always needed; clients compare the challenges with what others send."""
    name = yield b"Username:"
    password = yield b"Password:"
    if b"\0" in password:
        raise Malformed
    return Credentials(_text(name), password)


MECHANISMS: dict[str, Callable[[], Exchange]] = {"PLAIN": plain, "LOGIN": login}
"""By upper-case name, in the order they are offered."""


def encode(challenge: bytes) -> str:
    """Return the text of a 334 reply."""
    return base64.b64encode(challenge).decode("ascii")


def decode(text: str) -> bytes:
    """Return what strict base64 stands for.

    Raises:
        ValueError: it is none; the text is not quoted, since it may hold a password.
    """
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64") from None


def _text(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed from None
    if any(letter < " " or letter == "\x7f" for letter in text):
        raise Malformed
    return text
