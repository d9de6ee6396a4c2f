"""AUTH's mechanisms as exchanges of octets (RFC 4954 §4). Pure: answers go in, challenges and credentials come out.

Those that prove a password without sending it are in `scram`.
"""

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


@dataclass(frozen=True, slots=True)
class Proof:
    """Who a client says it is, and whether it has proven that without a password's coming here."""

    login: str = ""
    acts_as: str = ""
    proves: bool = False
    trouble: str = ""
    """Why it proves nothing, where that is no secret: in words of ours, for the operator."""


class Malformed(Exception):
    """An answer is base64, but not what the mechanism wants: to be treated as wrong credentials.

    What it says, if anything, is for the log, and quotes nothing of the answer.
    """


Exchange = Generator[bytes, bytes, Credentials] | Generator[bytes, bytes, Proof]
"""Yields challenges, is sent answers, returns who the client is or raises `Malformed`."""


def plain() -> Generator[bytes, bytes, Credentials]:
    """PLAIN (RFC 4616 §2)."""
    answer = yield b""
    parts = answer.split(b"\0")
    if len(parts) != 3:
        raise Malformed
    acts_as, login, password = parts
    return Credentials(_text(login), password, _text(acts_as))


def login() -> Generator[bytes, bytes, Credentials]:
    """LOGIN: never standardised, always needed; clients compare the challenges with what others send."""
    name = yield b"Username:"
    password = yield b"Password:"
    if b"\0" in password:
        raise Malformed
    return Credentials(_text(name), password)


MECHANISMS: dict[str, Callable[[], Generator[bytes, bytes, Credentials]]] = {"PLAIN": plain, "LOGIN": login}
"""Those that send a password, by upper-case name, in the order they are offered. The others are in `scram`."""


def encode(challenge: bytes) -> str:
    """Return the text of a 334 reply."""
    return base64.b64encode(challenge).decode("ascii")


def decode(text: str) -> bytes:
    """Return what strict base64 stands for.

    Raises:
        ValueError: it is none; the text is not quoted, since it may hold a password.
    """
    try:
        octets = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64") from None
    if encode(octets) != text:  # the strict mode lets padding pass that there is too much of
        raise ValueError("not base64")
    return octets


def _text(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed from None
    if any(letter < " " or letter == "\x7f" for letter in text):
        raise Malformed
    return text
