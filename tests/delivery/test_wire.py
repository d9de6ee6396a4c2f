"""Replies out of octets, however these arrive."""

import asyncio

import pytest
from aiosmtplib.response import SMTPResponse
from hypothesis import given
from hypothesis import strategies as st

from mta.delivery.wire import MAX_LINE, MAX_LINES, Garbled, Wire

_PARTS = st.sampled_from([b"250", b"-", b" ", b"ok", b"\r\n", b"\n", b"\r", b"421 bye\r\n", b"999", b"\xff", b"\0"])
_OCTETS = st.lists(_PARTS, max_size=20).map(b"".join) | st.binary(max_size=60)


async def _heard(chunks: list[bytes]) -> list[SMTPResponse | str]:
    """Everything that can be read when a host says these chunks and leaves, with all of it asked for."""
    wire = Wire(asyncio.get_running_loop(), lambda _: None)
    wire._expected = 1000
    for chunk in chunks:
        wire.data_received(chunk)
    wire.connection_lost(None)
    heard: list[SMTPResponse | str] = []
    while True:
        try:
            heard.append(await wire.read_response())
        except (Garbled, ConnectionError) as error:
            return [*heard, type(error).__name__]


@given(_OCTETS)
def test_any_octets_give_replies_or_an_end_and_chunks_do_not_matter(octets: bytes) -> None:
    whole = asyncio.run(_heard([octets]))
    assert asyncio.run(_heard([octets[at : at + 1] for at in range(len(octets))])) == whole
    assert all(200 <= one.code <= 599 for one in whole if isinstance(one, SMTPResponse))


async def test_lines_of_a_reply_are_kept_apart() -> None:
    assert await _heard([b"250-one\r\n250-\r\n250 two\r\n"]) == [
        SMTPResponse(250, "one\n\ntwo"),
        "SMTPServerDisconnected",
    ]


async def test_what_is_held_of_an_endless_reply_is_bounded() -> None:
    wire = Wire(asyncio.get_running_loop(), lambda _: None)
    for _ in range(1000):
        wire.data_received(b"250-" + b"x" * 1000 + b"\r\n")
        wire.data_received(b"x" * 1000)
    assert len(wire._buffer) <= MAX_LINE
    assert len(wire._lines) <= MAX_LINES + 1


async def test_replies_in_one_segment_are_given_out_in_order() -> None:
    heard = await _heard([b"250 mail\r\n550 rcpt\r\n354 data\r\n"])
    assert [one.code for one in heard if isinstance(one, SMTPResponse)] == [250, 550, 354]


async def test_a_reply_out_of_turn_is_kept_and_makes_the_wire_unquiet() -> None:
    wire = Wire(asyncio.get_running_loop(), lambda _: None)
    wire.data_received(b"220 hello\r\n421 going down\r\n")
    assert (await wire.read_response()).code == 220
    assert wire.out_of_turn == SMTPResponse(421, "going down")
    assert not wire.is_quiet


async def test_who_keeps_talking_out_of_turn_is_cut_off() -> None:
    wire = Wire(asyncio.get_running_loop(), lambda _: None)
    wire.data_received(b"220 hello\r\n" + b"250 and\r\n" * 2)
    await wire.read_response()
    with pytest.raises(Garbled, match="nobody asked"):
        await wire.read_response()


async def test_to_a_host_that_does_not_speak_smtp_nothing_more_is_written_and_that_is_why() -> None:
    wire = Wire(asyncio.get_running_loop(), lambda _: None)
    wire.data_received(b"220 hi\r\nhello\r\n")
    assert (await wire.read_response()).code == 220
    wire.connection_lost(None)
    with pytest.raises(Garbled, match="not a reply: hello"):
        wire.send(b"EHLO mail.example.com")
