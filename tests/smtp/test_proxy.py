import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.proxy import NoHeader, Receive, read_origin

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TCP4 = bytes([192, 0, 2, 7, 127, 0, 0, 1]) + struct.pack("!HH", 4711, 587)
TCP6 = bytes.fromhex("20010db8000000000000000000000007" + "00" * 15 + "01") + struct.pack("!HH", 4711, 587)
MAPPED = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7]) + bytes(16) + struct.pack("!HH", 4711, 587)


def block(kind: int, family: int, addresses: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", kind, family, len(addresses)) + addresses


def source(octets: bytes, at_once: int) -> tuple[Receive, Callable[[], bytes]]:
    """Return what gives octets in small parts, and what tells how many are left."""
    left = [octets]

    async def receive(count: int) -> bytes:
        if not left[0]:
            raise EOFError
        size = min(count, at_once)
        given, left[0] = left[0][:size], left[0][size:]
        return given

    return receive, lambda: left[0]


GOOD: dict[bytes, str | None] = {
    b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 587\r\n": "192.0.2.7",
    b"PROXY TCP6 2001:db8::7 ::1 4711 587\r\n": "2001:db8::7",
    b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 587\r\n": "192.0.2.7",
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n": None,
    block(0x21, 0x11, TCP4): "192.0.2.7",
    block(0x21, 0x11, TCP4 + b"\x20\x00\x03abc"): "192.0.2.7",
    block(0x21, 0x21, TCP6): "2001:db8::7",
    block(0x21, 0x21, MAPPED): "192.0.2.7",
    block(0x20, 0x00, b""): None,
    block(0x20, 0x11, TCP4): None,
    block(0x21, 0x00, b""): None,
    block(0x21, 0x31, bytes(216)): None,
}
BAD = [
    b"EHLO client.example.net\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xx",
    b"PROXY",
    b"PROXY \r\n and more of it",
    b"PROXY TCP4 192.0.2.7 127.0.0.1 4711\r\n",
    b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 587 1\r\n",
    b"PROXY TCP4 192.0.2.7  127.0.0.1 4711 587\r\n",
    b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.7 127.0.0.1 04711 587\r\n",
    b"PROXY TCP4 192.0.2.7 127.0.0.1 -1 587\r\n",
    b"PROXY TCP4 2001:db8::7 ::1 4711 587\r\n",
    b"PROXY TCP6 192.0.2.7 127.0.0.1 4711 587\r\n",
    b"PROXY TCP4 192.0.2.300 127.0.0.1 4711 587\r\n",
    b"PROXY TCP4 localhost 127.0.0.1 4711 587\r\n",
    b"PROXY UDP4 192.0.2.7 127.0.0.1 4711 587\r\n",
    b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 587\n" + b"x" * 200,
    b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
    b"PROXY UNKNOWNX 192.0.2.7\r\n",
    "PROXY TCP4 192.0.2.7 127.0.0.1 ٤٧ 587\r\n".encode(),
    block(0x11, 0x11, TCP4),
    block(0x22, 0x11, TCP4),
    block(0x21, 0x12, TCP4),
    block(0x21, 0x11, TCP4[:11]),
    block(0x21, 0x21, TCP4),
    block(0x21, 0x11, bytes(5000)),
    block(0x21, 0x11, TCP4)[:-1],
    SIGNATURE,
]


@pytest.mark.parametrize("header", GOOD)
@pytest.mark.parametrize("at_once", [1, 7, 10_000])
async def test_the_client_is_the_one_that_the_header_names(header: bytes, at_once: int) -> None:
    receive, left = source(header + b"EHLO x\r\n", at_once)
    assert await read_origin(receive) == GOOD[header]
    assert left() == b"EHLO x\r\n"


@pytest.mark.parametrize("header", BAD)
@pytest.mark.parametrize("at_once", [1, 10_000])
async def test_what_is_no_header_names_nobody(header: bytes, at_once: int) -> None:
    receive, _ = source(header, at_once)
    with pytest.raises(NoHeader):
        await read_origin(receive)


async def test_who_says_nothing_only_looked() -> None:
    receive, _ = source(b"", 1)
    with pytest.raises(EOFError):
        await read_origin(receive)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda octets: SIGNATURE + octets))
async def test_any_octets_give_an_address_or_a_refusal(octets: bytes) -> None:
    receive, _ = source(octets, 1000)
    try:
        await read_origin(receive)
    except (NoHeader, EOFError):
        return
