"""From the final dot to whoever reads reports: what is handed on, and what the host hears."""

import asyncio
from datetime import timedelta

import pytest
from aiosmtpd.smtp import SMTP

from mta.errors import ConfigError, StoreFull, StoreUnavailable
from mta.inbound.connection import InboundConnection
from mta.inbound.returns import ReceivedReturn
from mta.inbound.rules import ReturnPath
from mta.inbound.settings import HEAD
from mta.smtp.client import Client
from mta.smtp.settings import Endpoint, Kind
from tests.inbound.conftest import DELIVERY, House, OpenHouse


async def test_all_that_is_known_of_it_is_handed_on(house: House) -> None:
    async with await house.greeted() as talk:
        reply = await house.bring(talk, b"Subject: x\r\n\r\n..dot\r\n.\r\n", sender="MAILER-DAEMON@[192.0.2.1]")
    assert reply == "250 2.0.0 Ok: queued as r1"
    assert house.desk.received == [
        ReceivedReturn(
            addressees=(ReturnPath(DELIVERY),),
            reverse_path="MAILER-DAEMON@[192.0.2.1]",
            octets=b"Subject: x\r\n\r\n.dot\r\n",
            size=20,
            client=Client("mx.example.net", "127.0.0.1"),
            at=house.clock.now(),
        )
    ]
    assert not house.desk.received[0].truncated


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Subject: x\nbody\n\r\n",
        b"a\rb\0c\r\r\n",
        b"\n.\n\r\n",
        b"a\r\n.\nb\r\n",
        b"a\r.\rb\r\n",
        b"x" * 5000 + b"\r\n",
        bytes(range(256)) + b"\r\n",
    ],
    ids=["none", "LF", "CR and NUL", "LF.LF", "CRLF.LF", "CR.CR", "long line", "any octet"],
)
async def test_octets_are_kept_as_they_are_and_only_one_end_is_one(house: House, content: bytes) -> None:
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    async with await house.greeted() as talk:
        assert (await house.bring(talk, stuffed + b".\r\n")).startswith("250")
        assert (await talk.ask("NOOP")) == "250 2.0.0 Ok"
    assert [received.octets for received in house.desk.received] == [content]


async def test_what_stands_behind_another_end_is_content_and_no_command(house: House) -> None:
    smuggled = b"x\n.\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\nevil\r\n"
    async with await house.greeted() as talk:
        assert (await house.bring(talk, smuggled + b".\r\n")).startswith("250")
    assert [received.octets for received in house.desk.received] == [smuggled]


@pytest.mark.parametrize("size", [HEAD - 2, HEAD, HEAD + 2, 3 * HEAD])
async def test_only_the_first_mebibyte_is_handed_on(house: House, size: int) -> None:
    content = b"y" * (size - 2) + b"\r\n"
    async with await house.greeted() as talk:
        assert (await house.bring(talk, content + b".\r\n")).startswith("250")
    (received,) = house.desk.received
    assert (received.octets, received.size) == (content[:HEAD], size)
    assert received.truncated is (size > HEAD)


async def test_what_is_larger_than_announced_is_refused_after_reading_on(open_house: OpenHouse) -> None:
    async with open_house(max_message_size=100_000) as house, await house.greeted() as talk:
        assert (await talk.ask("MAIL FROM:<> SIZE=100001")).startswith("552 5.3.4")
        assert (await house.bring(talk, b"y\r\n" * 100_000 + b".\r\n")).startswith("552 5.3.4")
        assert house.desk.received == []
        assert (await house.bring(talk, b"y\r\n.\r\n")).startswith("250")


@pytest.mark.parametrize(
    ("failure", "reply"),
    [
        (StoreUnavailable("locked"), "451 4.3.0 Queue temporarily unavailable"),
        (StoreFull("disk"), "452 4.3.1 "),
        (ZeroDivisionError("secret inside"), "451 4.3.0 Internal error c0ffee; try again later"),
    ],
)
async def test_what_is_not_taken_in_hears_no_250(
    house: House, failure: Exception, reply: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with await house.greeted() as talk:
        house.desk.failure = failure
        assert (await house.bring(talk, b"x\r\n.\r\n")).startswith(reply)
        assert ("incident c0ffee" in caplog.text) is isinstance(failure, ZeroDivisionError)
        house.desk.failure = None
        assert (await house.bring(talk, b"x\r\n.\r\n")).startswith("250")
    assert len(house.desk.received) == 1


async def test_the_same_content_again_is_handed_on_again(house: House) -> None:
    async with await house.greeted() as talk:
        for _ in range(2):
            assert (await house.bring(talk, b"x\r\n.\r\n")).startswith("250")
    assert len(house.desk.received) == 2


async def test_no_reply_comes_before_it_is_taken_in(house: House) -> None:
    house.desk.gate.clear()
    async with await house.greeted() as talk:
        bringing = asyncio.ensure_future(house.bring(talk, b"x\r\n.\r\n"))
        async with asyncio.timeout(30):
            await house.desk.asked.wait()
        assert not bringing.done()
        house.desk.gate.set()
        assert (await bringing).startswith("250")


async def test_what_was_begun_ends_when_the_host_leaves_after_the_dot(house: House) -> None:
    house.desk.gate.clear()
    async with await house.greeted() as talk:
        for command in ("MAIL FROM:<>", f"RCPT TO:<{house.return_path}>", "DATA"):
            await talk.ask(command)
        await talk.send(b"x\r\n.\r\n")
        async with asyncio.timeout(30):
            await house.desk.asked.wait()
        talk.writer.transport.abort()
    house.desk.gate.set()
    await house.server.stop()
    assert len(house.desk.received) == 1


async def test_what_was_begun_ends_when_the_server_stops(open_house: OpenHouse) -> None:
    async with open_house(stop_grace=timedelta(milliseconds=50)) as house:
        house.desk.gate.clear()
        async with await house.greeted() as talk:
            bringing = asyncio.ensure_future(house.bring(talk, b"x\r\n.\r\n"))
            async with asyncio.timeout(30):
                await house.desk.asked.wait()
                stopping = asyncio.ensure_future(house.server.stop())
                await asyncio.sleep(0.2)
                assert not stopping.done()
                house.desk.gate.set()
                assert (await bringing).startswith("250")
                await stopping
    assert len(house.desk.received) == 1


@pytest.mark.parametrize("said", [b"", b"Subject: x\r\n", b"x\r\n.", b"x\r\n.\r"])
async def test_a_host_that_leaves_before_the_dot_leaves_nothing(house: House, said: bytes) -> None:
    async with await house.greeted() as talk:
        for command in ("MAIL FROM:<>", f"RCPT TO:<{house.return_path}>", "DATA"):
            await talk.ask(command)
        await talk.send(said)
        talk.writer.write_eof()
        assert await talk.rest() == b""
    await house.emptied()
    assert house.desk.received == []


async def test_an_endpoint_that_is_taken_is_named(house: House, open_house: OpenHouse) -> None:
    taken = (Endpoint(Kind.STARTTLS, "127.0.0.1", house.port),)
    with pytest.raises(ConfigError, match=rf"inbound\.listen: cannot listen .*{house.port}.*in use"):
        async with open_house(endpoints=taken):
            pass


def test_no_verb_of_aiosmtpd_is_left_as_it_was() -> None:
    verbs = [name for name in dir(SMTP) if name.startswith("smtp_")]
    assert verbs
    assert [name for name in verbs if getattr(InboundConnection, name) is getattr(SMTP, name)] == []
