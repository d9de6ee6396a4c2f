"""Encoded words (RFC 2047 §2) as a suspicious reader sees them: whatever some other reader might decode is decoded.

For looking only: nothing of it is ever written into a header. Never fails, runs in linear time.
"""

import base64
import binascii
import quopri
import re

# stricter readers decode less: no blanks inside, no neighbours without a blank between them
_ENCODED_WORD = re.compile(r"=\?([^?=\s]{1,80})\?([bBqQ])\?([^?]*)\?=")
_GLUED = re.compile(r"[^\s@<>(),;:\"\[\]\\]*")
# charsets of real mail whose decoders are quick, and those that can hide an @. In all others, ASCII is read: Python's
# search for a codec remembers every name it ever failed to find, and knows some that take quadratic time
_CHARSET = re.compile(
    r"(?:us-?)?ascii|(?:unicode-1-1-)?utf-?(?:7|8|(?:16|32)(?:-?[lb]e)?)|u(?:7|8|16|32)|iso-?8859-?[0-9]{1,2}|"
    r"(?:windows-?|cp|ibm)[0-9]{3,4}|ebcdic-cp-[a-z]{2}|koi8-?[rut]|iso-?2022-?(?:jp(?:-?[1-3])?|kr)|shift-?jis|sjis|"
    r"euc-?(?:jp|kr)|gb2312|gbk|gb18030|hz(?:-gb-2312)?|big5|(?:raw-)?unicode-escape",
    re.IGNORECASE,
)


def decoded(text: str) -> list[str]:
    """Return what the encoded words of a text stand for, each with what is glued to its end.

    Neighbours with nothing but blanks between them are one (RFC 2047 §6.2).
    """
    found: list[str] = []
    end = -1
    for match in _ENCODED_WORD.finditer(text) if "=?" in text else ():
        if found and not text[end : match.start()].strip(" \t"):
            found[-1] += _decoded(match)
        else:
            if found:
                found[-1] += _glued(text, end)
            found.append(_decoded(match))
        end = match.end()
    if found:
        found[-1] += _glued(text, end)
    return found


def _glued(text: str, end: int) -> str:
    match = _GLUED.match(text, end)
    return match[0] if match else ""


def _decoded(match: re.Match[str]) -> str:
    charset, encoding = match[1].partition("*")[0].replace("_", "-"), match[2]
    text = match[3].encode("utf-8", "surrogateescape")
    octets = _base64(text) if encoding in "bB" else quopri.decodestring(text, header=True)
    try:
        return octets.decode(charset if _CHARSET.fullmatch(charset) else "ascii", "replace")
    except LookupError:
        return octets.decode("ascii", "replace")


def _base64(text: bytes) -> bytes:
    """As lenient decoders do it: letters that are none are passed over, a missing end is no matter."""
    letters = re.sub(rb"[^A-Za-z0-9+/]", b"", text)
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    try:
        return base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return b""
