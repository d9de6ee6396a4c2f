"""The content behind DATA read in the slow and obvious way: line by line, as RFC 5321 §4.1.1.4 and §4.5.2 tell it."""

from dataclasses import dataclass

MAX_LINE = 998


@dataclass(frozen=True, slots=True)
class Read:
    """What was read."""

    content: bytes
    behind: bytes
    flaws: frozenset[str]
    """`line end`, `long line`, `size`."""


def read(octets: bytes, max_size: int) -> Read | None:
    """Return the content, dots unstuffed, and what stands behind its end; None while the end has not come."""
    lines: list[bytes] = []
    at = 0
    while True:
        end = octets.find(b"\r\n", at)
        if end < 0:
            return None
        line, at = octets[at:end], end + 2
        if line == b".":
            break
        lines.append(line.removeprefix(b"."))
    content = b"".join(line + b"\r\n" for line in lines)
    flaws = set()
    if any(letter in line for line in lines for letter in b"\r\n\0"):
        flaws.add("line end")
    if any(len(line) > MAX_LINE for line in lines):
        flaws.add("long line")
    if len(content) > max_size:
        flaws.add("size")
    return Read(content, octets[at:], frozenset(flaws))
