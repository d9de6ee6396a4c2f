"""Contents under way: how much room they take together, and how fast they must come."""

import asyncio
import ssl
from datetime import timedelta
from typing import Any, cast

import pytest

from mta.smtp.budget import ReceiveBudget, Share
from mta.smtp.data import DataReader
from mta.smtp.feed import Feed
from mta.smtp.reception import Reception
from mta.smtp.settings import DoorSettings
from mta.smtp.wire import Wire
from tests.smtp.door import OpenDoor, open_door
from tests.smtp.talk import Talk, trickling

FULL = "452 4.3.1 Insufficient system storage"
SLOW = "421 4.4.2 Error: data comes too slowly"
LINE = b"x" * 98 + b"\r\n"
LONG = timedelta(seconds=600)
SHORT = timedelta(milliseconds=50)


async def begin(door: OpenDoor, octets: int, held: int) -> Talk:
    """Send the first part of a content; return when so many octets are held in all."""
    talk = await door.transaction()
    assert (await talk.ask("DATA")).startswith("354")
    await talk.send(LINE * (octets // len(LINE)))
    await door.until_held(held)
    return talk


async def test_room_is_held_until_the_content_is_stored(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, ReceiveBudget(10_000)) as door:
        door.shelf.gate.clear()
        async with await begin(door, 1000, held=1000) as talk:
            await talk.send(b".\r\n")
            await door.shelf.asked.wait()
            assert door.budget.held >= 1000
            door.shelf.gate.set()
            assert await talk.hear() == "250 2.0.0 Ok: queued as q1"
            await door.until_held(0)


async def test_a_declared_size_takes_no_room(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, ReceiveBudget(10_000)) as door, await door.talk() as talk:
        assert (await talk.ask("MAIL FROM:<a@own.example> SIZE=10000")).startswith("250")
        assert (await talk.ask("RCPT TO:<b@example.net>")).startswith("250")
        assert (await talk.ask("DATA")).startswith("354")
        assert door.budget.held == 0


async def test_a_content_waits_for_room_that_another_gives_back(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, ReceiveBudget(10_000), room_patience=LONG) as door:
        async with await begin(door, 9000, held=9000) as first, await door.transaction() as second:
            await second.send(b"BDAT 5000 LAST\r\n" + LINE * 50)
            await first.send(b".\r\n")
            assert await first.hear() == "250 2.0.0 Ok: queued as q1"
            assert await second.hear() == "250 2.0.0 Ok: queued as q2"
        assert [len(content) for content in door.shelf.contents] == [9000, 5000]


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
async def test_past_its_patience_a_content_is_read_on_and_refused(server_context: ssl.SSLContext, how: str) -> None:
    async with open_door(server_context, ReceiveBudget(10_000), room_patience=SHORT) as door:
        async with await begin(door, 9000, held=9000) as first, await door.transaction() as second:
            if how == "DATA":
                await second.send(b"DATA\r\n" + LINE * 5000 + b".\r\nNOOP\r\n")
                assert (await second.hear()).startswith("354")
            else:
                await second.send(b"BDAT 500000 LAST\r\n" + LINE * 5000 + b"NOOP\r\n")
            assert [await second.hear(), await second.hear()] == [FULL, "250 2.0.0 Ok"]
            await first.send(b".\r\n")
            assert await first.hear() == "250 2.0.0 Ok: queued as q1"
            # and then there is room again
            await second.send(b"MAIL x\r\nRCPT x\r\nBDAT 3 LAST\r\na\r\n")
            assert [(await second.hear())[:3] for _ in range(3)] == ["250"] * 3
        assert door.counts.rejections == [("space", "submission")]


async def test_a_content_larger_than_all_room_is_refused_without_waiting(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, ReceiveBudget(10_000), room_patience=LONG) as door:
        async with await door.transaction() as talk:
            await talk.send(b"BDAT 20000 LAST\r\n" + LINE * 200)
            assert await talk.hear() == FULL
        await door.until_held(0)


async def test_when_everybody_waits_somebody_gives_way(server_context: ssl.SSLContext) -> None:
    """Nobody has the patience to end before the test does: without a decision all would stand still."""
    content = LINE * 400
    async with open_door(server_context, ReceiveBudget(100_000), room_patience=LONG) as door:
        talks = [await door.transaction() for _ in range(6)]

        async def send(talk: Talk) -> str:
            await talk.send(b"BDAT %d LAST\r\n" % len(content))
            for start in range(0, len(content), 1000):
                await talk.send(content[start : start + 1000])
            return await talk.hear()

        async with asyncio.timeout(60):
            replies = await asyncio.gather(*map(send, talks))
        accepted = [reply for reply in replies if reply.startswith("250")]
        assert accepted
        assert set(replies) - set(accepted) <= {FULL}
        assert set(door.shelf.contents) == {content}
        assert door.budget.held == 0
        for talk in talks:
            talk.writer.close()


async def test_refused_contents_take_no_room(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, ReceiveBudget(10_000), max_message_size=5000) as door:
        talk = await begin(door, 4000, held=4000)
        await talk.send(LINE * 20)
        await door.until_held(0)
        await talk.send(LINE * 1000 + b".\r\n")
        assert (await talk.hear()).startswith("552 5.3.4")
        talk.writer.close()


@pytest.mark.parametrize("leave", [b"RSET\r\n", b"QUIT\r\n", b"EHLO x\r\n", b"\r\n" * 30])
async def test_chunks_that_are_forgotten_give_their_room_back(server_context: ssl.SSLContext, leave: bytes) -> None:
    async with open_door(server_context, ReceiveBudget(10_000)) as door, await door.transaction() as talk:
        await talk.send(b"BDAT 5000\r\n" + LINE * 50)
        assert (await talk.hear()).startswith("250")
        assert door.budget.held == 5000
        await talk.send(leave)
        await door.until_held(0)


@pytest.mark.parametrize("begin_with", [b"DATA\r\n", b"BDAT 100000 LAST\r\n", b"RSET\r\nBDAT 100000 LAST\r\n"])
async def test_a_content_that_comes_too_slowly_is_cut(server_context: ssl.SSLContext, begin_with: bytes) -> None:
    settings: dict[str, Any] = {
        "min_data_rate": 10**6,
        "data_rate_window": timedelta(milliseconds=200),
        "idle_timeout": LONG,
    }
    async with open_door(server_context, **settings) as door, await door.transaction() as talk:
        await talk.send(begin_with)

        async with trickling(talk, b"x"):
            while (reply := await talk.hear())[:3] in ("354", "250"):
                pass
        assert reply == SLOW
        await door.until(clients=0)
        assert door.budget.held == 0


class SlowRoom:
    """A clock, a wire and a share in one: room takes a minute, octets take none, and waits are kept."""

    def __init__(self, *pieces: bytes) -> None:
        self.loop, self.feed = self, Feed()
        self.now = 0.0
        self.waits: list[float | None] = []
        self._pieces = list(pieces)

    def time(self) -> float:
        """Return the time."""
        return self.now

    async def next_piece(self, most: int | None, within: float | None) -> bytes:
        """Give the next one."""
        self.waits.append(within)
        return self._pieces.pop(0)

    def take(self, octets: int) -> bool:
        """There is none at once."""
        return False

    async def wait(self, octets: int, patience: float) -> bool:
        """There is some later."""
        self.now += 60
        return True


async def test_waiting_for_room_is_not_the_clients_slowness() -> None:
    slow = SlowRoom(b"one\r\n", b"two\r\n", b".\r\n")
    limits = DoorSettings("mail.own.example", (), min_data_rate=500)
    await Reception(cast(Wire, slow), limits, cast(Share, slow)).data(DataReader(1000))
    assert slow.waits == [30, 30, 30]


async def test_a_whole_content_may_have_a_limit_of_its_own(server_context: ssl.SSLContext) -> None:
    async with open_door(server_context, content_timeout=SHORT) as door, await door.transaction() as talk:
        await talk.send(b"BDAT 10\r\n")
        assert await talk.hear() == "421 4.4.2 Error: timeout exceeded"
