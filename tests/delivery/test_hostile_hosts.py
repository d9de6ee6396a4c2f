"""Hosts that answer nonsense, too much, too slowly or not at all: each attempt ends, and nothing of it stays."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mta.delivery.limits import TransportSettings
from mta.demo.listener import listening
from mta.mail.outcome import Deferred
from mta.queue.seams import Host, Site
from tests.delivery.peer import Peer
from tests.delivery.world import SHORT, letter, ours, server_context, settings, transport

LIMITS = {"GREETING": "greeting", "DATA": "data", "DOT": "final"}
"""The limit of a step; `command` for all others."""
STEPS = ["GREETING", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "DOT"]


def _hasty(verb: str) -> TransportSettings:
    return settings(**{LIMITS.get(verb, "command"): SHORT})


def _site(port: int) -> Site:
    return Site("mx1.example.net", (Host("mx1.example.net", port, require_tls=False),))


def _left() -> tuple[int, int]:
    return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))


def _more_than(before: tuple[int, int]) -> bool:
    return any(now > then for now, then in zip(_left(), before, strict=True))


@asynccontextmanager
async def _nothing_stays(peer: Peer) -> AsyncIterator[None]:
    """What was opened inside is closed in the end, on both sides."""
    before = _left()
    yield
    async with asyncio.timeout(30):
        while _more_than(before) or peer.open:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("offers", [("PIPELINING",), ("SIZE",), ("PIPELINING", "CHUNKING")])
@pytest.mark.parametrize("how", [None, b""])
@pytest.mark.parametrize("verb", STEPS)
async def test_silence_and_a_closed_connection_at_each_step_leave_nothing_behind(
    verb: str, how: bytes | None, offers: tuple[str, ...]
) -> None:
    async with Peer(*offers, tls=server_context() if verb == "STARTTLS" else None) as peer:
        peer.answers[verb] = how
        async with _nothing_stays(peer), transport(_hasty(verb)) as sending:
            outcome = await sending.deliver(letter(), _site(peer.port), ours)
    if verb == "STARTTLS":
        return  # a host without TLS gets plaintext
    assert isinstance(outcome, Deferred)
    assert str(outcome.reply.status) == "4.4.2"


@pytest.mark.parametrize(
    "flood", [b"220-" + b"x" * 1000 + b"\r\n", b"x" * 4096, b"220-\xff\xfe\r\n", b"\r\n", b"\0" * 1024]
)
async def test_a_hundred_megabytes_of_banner_cost_no_memory(flood: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        block = flood * (100_000 // len(flood))
        for _ in range(1000):
            writer.write(block)
            await writer.drain()

    async with listening(serve, "127.0.0.1", 0) as port, transport() as sending:
        tracemalloc.start()
        try:
            outcome = await sending.deliver(letter(), _site(port), ours)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(outcome, Deferred)
    assert (outcome.tries[0].stage, str(outcome.reply.status)) == ("greeting", "4.5.0")
    assert peak < 8_000_000


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "RCPT", "DOT"])
async def test_one_octet_at_a_time_is_not_more_time(verb: str) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT"):
            if reply == verb:
                while True:
                    writer.write(b"2")
                    await asyncio.sleep(0.02)
            writer.write(b"354 go\r\n" if reply == "DATA" else b"250 ok\r\n" if reply != "GREETING" else b"220 hi\r\n")
            await (reader.readuntil(b"\r\n.\r\n") if reply == "DATA" else reader.readline())

    async with listening(drip, "127.0.0.1", 0) as port, transport(_hasty(verb)) as sending:
        outcome = await sending.deliver(letter(), _site(port), ours)
    assert isinstance(outcome, Deferred)
    assert outcome.tries[0].stage == verb.lower()
    assert outcome.in_doubt is (verb == "DOT")


async def test_a_host_that_never_ends_its_reply_is_given_up() -> None:
    async with Peer("PIPELINING") as peer, transport() as sending:
        peer.answers["RCPT"] = b"250-more\r\n" * 100_000
        outcome = await sending.deliver(letter(), _site(peer.port), ours)
    assert isinstance(outcome, Deferred)
    assert "100 lines" in outcome.reply.text


@pytest.mark.parametrize(
    "behind", [b"2", b"\x16\x03\x03", b"hello\r\n", b"250 ok\r\n", b"250 ok\r\n" * 2, b"250 ok\r\n" * 5]
)
async def test_whatever_stands_behind_the_reply_to_starttls_ends_the_attempt_without_plaintext(behind: bytes) -> None:
    async with Peer("PIPELINING", tls=server_context()) as peer, transport() as sending:
        peer.answers["STARTTLS"] = b"220 go\r\n" + behind
        outcome = await sending.deliver(letter(), _site(peer.port), ours)
    assert isinstance(outcome, Deferred)
    assert (str(outcome.reply.status), outcome.tries[-1].stage) == ("4.5.0", "starttls")
    assert (peer.connections, peer.verbs) == (1, ["EHLO", "STARTTLS"])
