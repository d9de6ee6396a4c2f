import asyncio
import re
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.feed import HIGH_WATER, Feed, LineTooLong


class FakeTransport:
    """Knows whether it was told to wait."""

    def __init__(self) -> None:
        self.is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return False


async def test_lines_come_with_their_ends_and_the_rest_waits() -> None:
    feed = Feed()
    feed.put(b"a\r\nb\nb\rb\r\nc")
    assert [await feed.line(10), await feed.line(10)] == [b"a\r\n", b"b\nb\rb\r\n"]
    assert (feed.has_line, feed.is_empty) == (False, False)
    assert await feed.piece() == b"c"
    assert feed.is_empty


async def test_what_was_taken_too_much_comes_again() -> None:
    feed = Feed()
    feed.put(b"contentQUIT\r\n")
    await feed.piece()
    feed.put_back(b"QUIT\r\n")
    assert await feed.line(10) == b"QUIT\r\n"


@pytest.mark.parametrize("size", [11, 1000, 10 * HIGH_WATER])
async def test_a_line_that_is_too_long_is_read_to_its_end_and_dropped(size: int) -> None:
    feed = Feed()

    async def fill() -> None:
        for _ in range(size // 10 + 1):
            feed.put(b"x" * 10)
        feed.put(b"\r\nnext\r\n")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fill())
        with pytest.raises(LineTooLong):
            await feed.line(10)
    assert await feed.line(10) == b"next\r\n"


@pytest.mark.parametrize("ask", ["line", "piece"])
async def test_the_end_is_told_after_everything_was_taken(ask: str) -> None:
    feed = Feed()
    feed.put(b"a\r\n")
    feed.end()
    assert await feed.line(10) == b"a\r\n"
    with pytest.raises(EOFError):
        await (feed.line(10) if ask == "line" else feed.piece())


async def test_a_client_that_sends_faster_than_we_read_has_to_wait() -> None:
    feed, transport = Feed(), FakeTransport()
    feed.attach(cast(asyncio.Transport, transport))
    feed.put(b"a\n" * (HIGH_WATER // 2))
    assert not transport.is_paused
    feed.put(b"b\n")
    assert transport.is_paused
    await feed.piece()
    assert not transport.is_paused


async def test_reading_goes_on_when_half_was_taken_as_lines() -> None:
    feed, transport = Feed(), FakeTransport()
    feed.attach(cast(asyncio.Transport, transport))
    feed.put(b"a\r\n" * HIGH_WATER)
    taken = 0
    while transport.is_paused:
        taken += len(await feed.line(10))
    assert 0 <= taken - (3 * HIGH_WATER - HIGH_WATER // 2) < 3


async def test_an_endless_line_does_not_stop_reading_for_ever() -> None:
    feed, transport = Feed(), FakeTransport()
    feed.attach(cast(asyncio.Transport, transport))
    feed.put(b"x" * (2 * HIGH_WATER))
    assert transport.is_paused
    waiting = asyncio.ensure_future(feed.line(10))
    await asyncio.sleep(0)
    assert not transport.is_paused
    feed.put(b"\r")
    await asyncio.sleep(0)
    feed.put(b"\n")
    with pytest.raises(LineTooLong):
        await waiting


@given(st.lists(st.text("ab\r\n", max_size=20).map(str.encode)))
def test_however_octets_arrive_the_same_lines_come_out(parts: list[bytes]) -> None:
    async def story() -> list[bytes]:
        feed, lines = Feed(), []

        async def fill() -> None:
            for part in parts:
                feed.put(part)
                await asyncio.sleep(0)
            feed.end()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fill())
            try:
                while True:
                    lines.append(await feed.line(1000))
            except EOFError:
                return lines

    assert asyncio.run(story()) == re.findall(rb"(?s).*?\r\n", b"".join(parts))


async def test_a_piece_is_no_larger_than_asked_for() -> None:
    feed = Feed()
    feed.put(b"BDAT 4\r\nabcdNOOP\r\n")
    assert await feed.line(10) == b"BDAT 4\r\n"
    assert [await feed.piece(3), await feed.piece(1)] == [b"abc", b"d"]
    assert await feed.line(10) == b"NOOP\r\n"
    assert feed.is_empty


async def test_what_came_meanwhile_stands_behind_what_was_taken_too_much() -> None:
    feed = Feed()
    feed.put(b"content")
    await feed.piece()
    feed.put(b"second")
    feed.put_back(b"first")
    assert await feed.piece() == b"firstsecond"


async def test_one_may_look_whether_something_came_without_taking_it() -> None:
    feed = Feed()
    looking = asyncio.ensure_future(feed.wait())
    await asyncio.sleep(0)
    assert not looking.done()
    feed.put(b"x")
    await looking
    assert (feed.take_all(), feed.is_empty, feed.has_ended) == (b"x", True, False)
    feed.end()
    await feed.wait()
    assert feed.has_ended
