"""One transaction in few flights, with and without chunks."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from mta.delivery.transport import SmtpTransport
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome
from mta.queue.model import Content
from mta.queue.seams import Host, Letter, Site
from tests.delivery.peer import Peer
from tests.delivery.world import HEADER, SHORT, SIGNATURE, letter, ours, settings, transport
from tests.fakes.clock import FakeClock

CHUNKS = ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 100000000")
OCTETS = b"".join(b"%07d %s\r\n.x\r\n" % (number, b"." * 64) for number in range(20_000))
LARGE = tuple(OCTETS[start : start + Content.PIECE] for start in range(0, len(OCTETS), Content.PIECE))


def _site(peer: Peer) -> Site:
    return Site("mx1.example.net", (Host("mx1.example.net", peer.port),))


async def _send(peer: Peer, one: Letter | None = None) -> Outcome:
    async with transport() as sending:
        return await sending.deliver(one or letter(), _site(peer), ours)


@asynccontextmanager
async def _known(peer: Peer, clock: FakeClock | None = None) -> AsyncIterator[SmtpTransport]:
    """A transport which has handed over a message there, and for which no time passes by itself."""
    async with transport(clock=clock or FakeClock()) as sending:
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
        peer.mails.clear()
        peer.commands.clear()
        yield sending


def _once(peer: Peer, verb: str, reply: bytes) -> None:
    """Answer so for one time; `reply` is none: hang up, 421: and hang up."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del peer.answers[verb]
        writer.write(reply)
        await writer.drain()
        if not reply or reply.startswith(b"421"):
            writer.close()
            raise ConnectionAbortedError

    peer.answers[verb] = act


@pytest.mark.parametrize("offers", [CHUNKS, CHUNKS[1:]])
@pytest.mark.parametrize("body", [(b"Hello\r\n",), (b".\r\n..\r\n",), (b"no line end",), (b"",), (), LARGE])
async def test_content_in_chunks_arrives_octet_for_octet(offers: tuple[str, ...], body: tuple[bytes, ...]) -> None:
    async with Peer(*offers) as peer, _known(peer) as sending:
        assert isinstance(await sending.deliver(letter(body=body), _site(peer), ours), Delivered)
    (mail,) = peer.mails
    assert mail.content == SIGNATURE + HEADER + b"\r\n" + b"".join(body)
    assert "DATA" not in peer.verbs


@pytest.mark.parametrize("offers", [("PIPELINING", "8BITMIME"), ("8BITMIME",)])
@pytest.mark.parametrize("body", [(b"Hello\r\n",), (b".\r\n..\r\n",), (), (b"x" * 70 + b"\r\n",) * 500, LARGE])
async def test_content_behind_data_arrives_octet_for_octet(offers: tuple[str, ...], body: tuple[bytes, ...]) -> None:
    async with Peer(*offers) as peer:
        assert isinstance(await _send(peer, letter(body=body)), Delivered)
    (mail,) = peer.mails
    assert mail.content == SIGNATURE + HEADER + b"\r\n" + b"".join(body)


@pytest.mark.parametrize("body", [(b"Hello\r\n",), LARGE])
async def test_a_loss_after_the_dot_is_in_doubt(body: tuple[bytes, ...]) -> None:
    async with Peer("PIPELINING") as peer:
        peer.answers["DOT"] = b""
        outcome = await _send(peer, letter(body=body))
    assert isinstance(outcome, Deferred)
    assert outcome.in_doubt


async def test_a_small_message_is_in_the_same_flight_as_its_envelope() -> None:
    # no answer before the chunk is there: whoever waited for one would wait for ever
    async with Peer(*CHUNKS) as peer, _known(peer) as sending:
        peer.corked = True
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
    assert peer.verbs == ["MAIL", "RCPT", "BDAT", "QUIT"]
    assert peer.commands[2].endswith(" LAST")


@pytest.mark.parametrize(
    ("answers", "body", "way"),
    [
        ({}, (b"Hello\r\n",), "BDAT"),
        ({"MAIL": b"250-2.1.0 a\r\n250 2.1.0 b\r\n"}, (b"Hello\r\n",), "BDAT"),
        # its chunk waits for the answers to the envelope, and no 354 comes
        ({}, LARGE, "DATA"),
        ({"MAIL": b"250 ok\r\n250 ok\r\n"}, (b"Hello\r\n",), "DATA"),
        ({"RCPT": b"250 ok\r\n250 ok\r\n"}, (b"Hello\r\n",), "DATA"),
        ({"RCPT": b"550 5.1.1 no\r\n"}, (b"Hello\r\n",), "DATA"),
        ({"DATA": b"354 go\r\n354 go\r\n"}, (b"Hello\r\n",), "DATA"),
        ({"DATA": b"451 4.3.0 later\r\n"}, (b"Hello\r\n",), "DATA"),
        ({"DOT": b"451 4.3.0 later\r\n"}, (b"Hello\r\n",), "DATA"),
        ({"DOT": b"250 ok\r\n250 ok\r\n"}, (b"Hello\r\n",), "DATA"),
        ({"DOT": b"250 ok\r\n421 bye\r\n"}, (b"Hello\r\n",), "DATA"),
    ],
)
async def test_only_a_host_that_answered_in_step_behind_data_gets_a_message_in_one_flight(
    answers: dict[str, bytes], body: tuple[bytes, ...], way: str
) -> None:
    async with Peer(*CHUNKS) as peer, transport(clock=FakeClock()) as sending:
        peer.answers.update(answers)
        await sending.deliver(letter(body=body), _site(peer), ours)
        assert ("BDAT" if body is LARGE else "DATA") in peer.verbs
        peer.answers.clear()
        peer.mails.clear()
        peer.commands.clear()
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
        assert len(peer.mails) == 1
        assert [each for each in peer.verbs if each in ("BDAT", "DATA")] == [way]


async def test_a_connection_that_was_idle_gets_no_message_in_one_flight() -> None:
    clock = FakeClock()
    async with Peer(*CHUNKS) as peer, _known(peer, clock) as sending:
        for pause in (0.9, 1.0):
            clock.advance(pause)
            assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
        assert peer.verbs == ["MAIL", "RCPT", "BDAT", "MAIL", "RCPT", "DATA"]


async def test_what_one_connection_showed_counts_for_the_next() -> None:
    async with Peer(*CHUNKS) as peer, _known(peer) as sending:
        _once(peer, "DOT", b"421 4.3.2 going\r\n")
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Deferred)
        peer.commands.clear()
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
        assert peer.verbs == ["EHLO", "MAIL", "RCPT", "BDAT"]


@pytest.mark.parametrize(
    ("word", "way"),
    [
        (b"250 2.0.0 taken\r\n", "DATA"),
        (b"451 4.4.2 you are idle\r\n", "DATA"),
        (b"550 5.7.1 no\r\n", "DATA"),
        (b"421 4.4.2 you are idle\r\n", "BDAT"),
    ],
)
async def test_a_word_too_many_after_one_flight_ends_the_trust_and_is_told(
    word: bytes, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    settled = asyncio.Event()

    async def more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"250 2.0.0 ok\r\n")
        await settled.wait()
        writer.write(word)

    async with Peer(*CHUNKS) as peer, _known(peer) as sending:
        peer.answers["DOT"] = more
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
        peer.answers.clear()
        tending = asyncio.ensure_future(sending.tend())
        settled.set()
        async with asyncio.timeout(30):
            while sending.connections:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.01)
        tending.cancel()
        peer.commands.clear()
        for _ in range(2):
            assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
        assert [each for each in peer.verbs if each in ("BDAT", "DATA")] == [way] * 2
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == (way == "DATA")
    assert all("mx1.example.net [127.0.0.1] said " in each and letter().message.id in each for each in warnings)


async def test_a_word_too_many_behind_data_is_no_news_and_ends_the_trust(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    async with Peer(*CHUNKS) as peer, _known(peer, clock) as sending:
        clock.advance(1)
        peer.answers["DOT"] = b"250 ok\r\n250 ok\r\n"
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
        peer.answers.clear()
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
    assert "BDAT" not in peer.verbs
    assert not caplog.records


async def test_a_large_message_comes_in_two_chunks_and_the_lease_is_looked_at_before_the_last() -> None:
    seen: list[list[str]] = []

    async def look() -> bool:
        seen.append(list(peer.verbs))
        return True

    async with Peer(*CHUNKS) as peer, transport() as sending:
        assert isinstance(await sending.deliver(letter(body=LARGE), _site(peer), look), Delivered)
    assert peer.verbs.count("BDAT") == 2
    assert seen == [["EHLO", "MAIL", "RCPT", "BDAT"]]


async def test_a_lease_lost_before_the_last_chunk_sends_nothing_more() -> None:
    async def lost() -> bool:
        return False

    async with Peer(*CHUNKS) as peer, transport() as sending:
        for body in ((b"Hello\r\n",), LARGE):
            outcome = await sending.deliver(letter(body=body), _site(peer), lost)
            assert isinstance(outcome, Deferred)
            assert not outcome.in_doubt
    assert not peer.mails
    assert not any(command.endswith("LAST") for command in peer.commands)


@pytest.mark.parametrize("body", [(b"Hello\r\n",), LARGE])
@pytest.mark.parametrize(
    ("verb", "reply", "kind", "stage"),
    [
        ("MAIL", b"550 5.1.7 no\r\n", Bounced, "mail"),
        ("RCPT", b"550 5.1.1 no such user\r\n", Bounced, "rcpt"),
        ("RCPT", b"450 4.2.0 greylisted\r\n", Deferred, "rcpt"),
        ("DOT", b"552 5.2.2 full\r\n", Bounced, "dot"),
        ("DOT", b"451 4.3.0 later\r\n", Deferred, "dot"),
    ],
)
async def test_a_refusal_counts_and_the_connection_goes_on(
    verb: str, reply: bytes, kind: type[Outcome], stage: str, body: tuple[bytes, ...]
) -> None:
    async with Peer(*CHUNKS) as peer, _known(peer) as sending:
        peer.answers[verb] = reply
        if verb == "MAIL":
            peer.answers["RCPT"] = b"503 5.5.1 need MAIL\r\n"
        outcome = await sending.deliver(letter(body=body), _site(peer), ours)
        assert isinstance(outcome, kind)
        assert (outcome.tries[0].stage, outcome.tries[0].remote) == (stage, True)
        assert str(outcome.reply).encode() == reply.strip()
        peer.answers.clear()
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
    assert peer.connections == 1
    assert len(peer.mails) == 1


async def test_a_first_chunk_that_is_refused_is_the_answer() -> None:
    async with Peer(*CHUNKS) as peer:
        peer.answers["BDAT"] = b"552 5.3.4 too much\r\n"
        outcome = await _send(peer, letter(body=LARGE))
    assert isinstance(outcome, Bounced)
    assert (outcome.tries[0].stage, str(outcome.reply)) == ("data", "552 5.3.4 too much")


async def test_a_chunk_refused_before_it_was_read_is_the_answer() -> None:
    async with Peer(*CHUNKS) as peer:
        peer.answers["CHUNK"] = b"552 5.3.4 too much\r\n"
        outcome = await _send(peer, letter(body=LARGE * 10))
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply) == "552 5.3.4 too much"


@pytest.mark.parametrize("body", [(b"Hello\r\n",), LARGE])
@pytest.mark.parametrize("how", [b"", None])
async def test_a_loss_after_the_last_chunk_is_in_doubt(how: bytes | None, body: tuple[bytes, ...]) -> None:
    async with Peer(*CHUNKS) as peer, transport(settings(final=SHORT)) as sending:
        peer.answers["DOT"] = how
        outcome = await sending.deliver(letter(body=body), _site(peer), ours)
    assert isinstance(outcome, Deferred)
    assert outcome.in_doubt


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DOT"])
async def test_in_one_flight_a_loss_before_any_refusal_is_in_doubt_and_no_other_host_is_asked(verb: str) -> None:
    async with Peer(*CHUNKS) as peer, Peer(*CHUNKS) as second, _known(peer) as sending:
        peer.answers[verb] = b""
        hosts = (*_site(peer).hosts, Host("mx2.example.net", second.port))
        outcome = await sending.deliver(letter(), Site("mx1.example.net", hosts), ours)
    assert isinstance(outcome, Deferred)
    assert outcome.in_doubt
    assert second.connections == 0


@pytest.mark.parametrize(
    ("answers", "kind", "in_doubt", "connections"),
    [
        ({"RSET": b"250 ok\r\n"}, Delivered, False, 1),
        # it takes the envelope all the same
        ({"RSET": b"502 5.5.1 what?\r\n"}, Delivered, False, 1),
        ({"RSET": b"502 no\r\n", "DOT": b"552 5.2.2 full\r\n"}, Bounced, False, 1),
        # it is still at the message before, and takes nothing
        ({"RSET": b"502 no\r\n", "MAIL": b"503 nested\r\n", "DOT": b"503 no\r\n"}, Delivered, False, 2),
        ({"RSET": b"502 no\r\n", "RCPT": b"503 no\r\n", "DOT": b"503 no\r\n"}, Delivered, False, 2),
        # it may have taken this content for whom it was told of before
        ({"RSET": b"502 no\r\n", "MAIL": b"503 nested\r\n", "DOT": b"250 ok\r\n"}, Deferred, True, 1),
        ({"RSET": b"502 no\r\n", "MAIL": b"503 nested\r\n", "DOT": b""}, Deferred, True, 1),
        ({"RSET": b"502 no\r\n", "MAIL": b"503 nested\r\n", "RCPT": b""}, Deferred, True, 1),
        ({"RSET": b"502 no\r\n", "MAIL": b""}, Deferred, True, 1),
        # it says that it takes nothing more
        ({"RSET": b"421 4.7.0 too many errors\r\n"}, Delivered, False, 2),
        ({"RSET": b""}, Deferred, True, 1),
        ({"RSET": b"hello\r\n"}, Deferred, True, 1),
    ],
)
async def test_what_follows_a_refused_reset_in_the_same_flight_is_judged_by_what_was_taken(
    answers: dict[str, bytes], kind: type[Outcome], in_doubt: bool, connections: int
) -> None:
    async with Peer(*CHUNKS) as peer, _known(peer) as sending:
        peer.answers["RCPT"] = b"550 5.1.1 no such user\r\n"
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Bounced)
        assert peer.verbs == ["MAIL", "RCPT", "BDAT"]
        peer.answers.clear()
        for verb, reply in answers.items():
            _once(peer, verb, reply)
        outcome = await sending.deliver(letter("b@example.net"), _site(peer), ours)
        assert isinstance(outcome, kind)
        assert peer.verbs[3] == "RSET"
        assert getattr(outcome, "in_doubt", False) is in_doubt
        assert peer.connections == connections


async def test_a_421_to_mail_on_a_kept_connection_leads_to_a_new_one() -> None:
    async with Peer(*CHUNKS) as peer, transport() as sending:
        await sending.deliver(letter(), _site(peer), ours)
        peer.answers["MAIL"] = b"421 4.4.2 idle for too long\r\n"
        outcome = await sending.deliver(letter(), replace(_site(peer)), ours)
    assert isinstance(outcome, Deferred)
    assert not outcome.in_doubt
    assert peer.connections == 2


@pytest.mark.parametrize("offers", [CHUNKS, ("PIPELINING",)])
async def test_replies_that_come_late_and_together_are_matched_in_order(offers: tuple[str, ...]) -> None:
    async with Peer(*offers) as peer:
        peer.answers["MAIL"] = b"250-2.1.0 a\r\n250 2.1.0 b\r\n"
        peer.answers["RCPT"] = b"550-5.1.1 no\r\n550 5.1.1 such user\r\n"
        outcome = await _send(peer)
    assert isinstance(outcome, Bounced)
    assert outcome.reply.text == "no\nsuch user"


@pytest.mark.parametrize("offers", [CHUNKS, ("PIPELINING",)])
@pytest.mark.parametrize("count", [3, 4, 500])
async def test_many_replies_too_many_are_no_delivery(offers: tuple[str, ...], count: int) -> None:
    async with Peer(*offers) as peer, _known(peer) as sending:
        peer.answers["RCPT"] = b"250 ok\r\n" * count
        outcome = await sending.deliver(letter(), _site(peer), ours)
        assert isinstance(outcome, Deferred)
        assert outcome.in_doubt is ("CHUNKING" in offers)
        peer.answers.clear()
        peer.commands.clear()
        assert isinstance(await sending.deliver(letter(), _site(peer), ours), Delivered)
        assert peer.verbs == ["EHLO", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize("offers", [CHUNKS, ("PIPELINING",), ("8BITMIME",)])
async def test_one_reply_too_many_is_no_delivery_where_data_is_asked_for(offers: tuple[str, ...]) -> None:
    async with Peer(*offers) as peer:
        peer.answers["RCPT"] = b"250 ok\r\n" * 2
        outcome = await _send(peer)
    assert isinstance(outcome, Deferred)
    assert not peer.mails


async def test_one_reply_too_many_is_no_delivery_where_the_chunk_waits_for_the_envelope() -> None:
    async with Peer(*CHUNKS) as peer:
        peer.answers["RCPT"] = b"250 ok\r\n" * 2
        outcome = await _send(peer, letter(body=LARGE))
    assert isinstance(outcome, Deferred)
    assert not peer.mails
