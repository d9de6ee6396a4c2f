"""The PROXY header: what a load balancer says first about the client it speaks for, versions 1 and 2.

Whether the one who says it is to be believed is decided by `session`. Told in "The PROXY protocol" of HAProxy,
section 2. Nothing is read beyond the header, to the octet.
"""

import struct
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

Receive = Callable[[int], Awaitable[bytes]]
"""Returns so many octets at most, one at least; raises EOFError at the end."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_MAX_LINE = 107
_MAX_BLOCK = 4096
"""Octets behind the fixed part of version 2: addresses, and what else a balancer tells, which is passed over."""
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31


class NoHeader(ValueError):
    """There is no valid header; the text says what there is."""


async def read_origin(receive: Receive) -> str | None:
    """Return the client's address; None: the balancer speaks for itself, or does not know.

    Raises:
        NoHeader: the connection does not begin with a header.
        EOFError: nothing came at all, as when a balancer only looks whether somebody listens.
    """
    begin = await _exactly(receive, len(_SIGNATURE), may_end=True)
    if begin == _SIGNATURE:
        fixed = await _exactly(receive, 4)
        kind, family, length = struct.unpack("!BBH", fixed)
        if length > _MAX_BLOCK:
            raise NoHeader(f"a header of {length} octets")
        return parse_block(kind, family, await _exactly(receive, length))
    if not begin.startswith(b"PROXY "):
        raise NoHeader(f"{begin!r} where the header should be")
    line = begin
    # one by one: nobody knows where it ends, and what is behind it is not ours
    while not line.endswith(b"\r\n"):
        if len(line) >= _MAX_LINE:
            raise NoHeader(f"{line!r} has no end")
        line += await _exactly(receive, 1)
    return parse_line(line)


def parse_line(line: bytes) -> str | None:
    """Read version 1, with its CRLF. As `read_origin`.

    Raises:
        NoHeader: it is malformed.
    """
    if line == b"PROXY UNKNOWN\r\n" or (line.startswith(b"PROXY UNKNOWN ") and line.endswith(b"\r\n")):
        return None
    try:
        proxy, protocol, source, destination, *ports = line.decode("ascii").removesuffix("\r\n").split(" ")
        found = _address(protocol, source)
        _address(protocol, destination)
        if proxy != "PROXY" or not line.endswith(b"\r\n") or len(ports) != 2 or not all(map(_is_port, ports)):
            raise NoHeader(f"{line!r} is no PROXY header")
    except ValueError:
        raise NoHeader(f"{line!r} is no PROXY header") from None
    return _plain(found)


def parse_block(kind: int, family: int, block: bytes) -> str | None:
    """Read what follows the signature in version 2. As `read_origin`.

    Raises:
        NoHeader: it is malformed.
    """
    if kind not in (_LOCAL, _PROXY):
        raise NoHeader(f"version and command {kind:#04x}")
    if kind == _LOCAL or family in (_UNSPECIFIED, _UNIX):
        return None
    if family == _TCP4 and len(block) >= 12:
        return _plain(IPv4Address(block[:4]))
    if family == _TCP6 and len(block) >= 36:
        return _plain(IPv6Address(block[:16]))
    raise NoHeader(f"address family {family:#04x} with {len(block)} octets")


def _address(protocol: str, text: str) -> IPv4Address | IPv6Address:
    if protocol not in ("TCP4", "TCP6"):
        raise ValueError(f"{protocol!r} is no protocol of a PROXY header")
    return IPv4Address(text) if protocol == "TCP4" else IPv6Address(text)


def _plain(address: IPv4Address | IPv6Address) -> str:
    """Networks are written for IPv4 as IPv4, whatever socket the client came to."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and str(int(text)) == text and int(text) < 2**16


async def _exactly(receive: Receive, count: int, *, may_end: bool = False) -> bytes:
    octets = b""
    while len(octets) < count:
        try:
            octets += await receive(count - len(octets))
        except EOFError:
            if may_end and not octets:
                raise
            raise NoHeader(f"the connection ended behind {octets!r}") from None
    return octets
