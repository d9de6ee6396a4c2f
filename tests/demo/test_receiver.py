"""The receiver against Python's own client and against raw octets."""

import asyncio
import smtplib
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.cli.certificate import self_signed
from mta.demo.receiver import Behaviour, Extension, Received, Receiver

_T = TypeVar("_T")
_MAIL = b"MAIL FROM:<a@example.com>\r\n"
_RCPT = b"RCPT TO:<b@example.net>\r\n"
_CONTENT = b"Subject: hi\r\n\r\nhello\r\n"


class Client:
    """Octets out, replies in; EOFError when the receiver has hung up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        """The next reply, its lines joined by newlines."""
        lines = []
        async with asyncio.timeout(30):
            while True:
                line = (await self.reader.readuntil(b"\r\n")).decode().removesuffix("\r\n")
                lines.append(line)
                if line[3:4] != "-":
                    return "\n".join(lines)

    async def ask(self, octets: bytes) -> str:
        self.writer.write(octets)
        return await self.reply()

    async def hello(self) -> "Client":
        await self.reply()
        await self.ask(b"EHLO client.example\r\n")
        return self

    async def rest(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.read()


@asynccontextmanager
async def connected(sink: Receiver) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(sink.host, sink.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@pytest.fixture
async def sink() -> AsyncIterator[Receiver]:
    async with Receiver() as sink:
        yield sink


def _smtplib(sink: Receiver, use: Callable[[smtplib.SMTP], _T]) -> asyncio.Future[_T]:
    def run() -> _T:
        with smtplib.SMTP(sink.host, sink.port, local_hostname="client.example", timeout=10) as client:
            return use(client)

    return asyncio.ensure_future(asyncio.to_thread(run))


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    certificate = self_signed("127.0.0.1", now=datetime.now(UTC), days=1)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "both.pem"
        file.write_bytes(certificate.key_pem + certificate.cert_pem)
        serving.load_cert_chain(file)
    return serving, ssl.create_default_context(cadata=certificate.cert_pem.decode())


async def test_a_message_by_smtplib_is_recorded_with_its_envelope(sink: Receiver) -> None:
    def send(client: smtplib.SMTP) -> None:
        client.sendmail(
            "a@example.com",
            ["b@example.net", "c@example.net"],
            _CONTENT,
            mail_options=["BODY=8BITMIME", "RET=HDRS"],
            rcpt_options=["NOTIFY=NEVER"],
        )

    before = datetime.now(UTC).timestamp()
    await _smtplib(sink, send)
    (message,) = await sink.wait_for(1)
    assert before <= message.received_at <= datetime.now(UTC).timestamp()
    assert message.peer.startswith("127.0.0.1:")
    assert message == Received(
        reverse_path="a@example.com",
        mail_parameters=(f"size={len(_CONTENT)}", "BODY=8BITMIME", "RET=HDRS"),
        recipients=("b@example.net", "c@example.net"),
        rcpt_parameters=(("NOTIFY=NEVER",), ("NOTIFY=NEVER",)),
        content=_CONTENT,
        tls=False,
        tls_version=None,
        helo="client.example",
        peer=message.peer,
        connection=1,
        received_at=message.received_at,
    )
    assert sink.recipients == [["b@example.net", "c@example.net"]]
    assert sink.commands[-2:] == ["data", "QUIT"]


async def test_a_message_over_starttls_is_recorded_with_its_tls_version(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    serving, asking = contexts

    def send(client: smtplib.SMTP) -> bool:
        client.starttls(context=asking)
        client.sendmail("a@example.com", "b@example.net", b"x" * 70 + b"\r\n" + b"large\r\n" * 50_000)
        return client.has_extn("starttls")

    async with Receiver(tls=serving) as sink:
        assert await _smtplib(sink, send) is False
        (message,) = sink.messages
    assert (message.tls, message.tls_version, len(message.content)) == (True, "TLSv1.3", 350_072)


async def test_a_failed_handshake_ends_that_connection_only(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with Receiver(tls=contexts[0]) as sink:
        with pytest.raises(ssl.SSLCertVerificationError):
            await _smtplib(sink, lambda client: client.starttls(context=ssl.create_default_context()))
        async with connected(sink) as client:
            assert (await client.reply()).startswith("220 ")
        assert sink.connections == 2


async def test_a_session_starts_anew_after_starttls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with Receiver(tls=contexts[0]) as sink, connected(sink) as client:
        await client.hello()
        await client.ask(_MAIL)
        assert await client.ask(b"STARTTLS\r\n") == "220 2.0.0 Go ahead"
        await client.writer.start_tls(contexts[1], server_hostname="127.0.0.1")
        assert (await client.ask(_RCPT)).startswith("503 ")
        assert (await client.ask(_MAIL)).startswith("503 ")


async def test_commands_behind_starttls_are_refused_and_never_obeyed(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with Receiver(tls=contexts[0]) as sink, connected(sink) as client:
        await client.hello()
        assert (await client.ask(b"STARTTLS\r\n" + _MAIL)).startswith("503 5.5.1")
        assert await client.rest() == b""


async def test_a_whole_pipelined_session_is_answered_in_order(sink: Receiver) -> None:
    async with connected(sink) as client:
        await client.hello()
        transaction = _MAIL + _RCPT + b"DATA\r\n"
        client.writer.write(transaction)
        codes = [(await client.reply())[:3] for _ in range(3)]
        client.writer.write(b"one\r\n.\r\n" + transaction)
        codes += [(await client.reply())[:3] for _ in range(4)]
        client.writer.write(b"two\r\n.\r\nNOOP\r\nQUIT\r\n")
        codes += [(await client.reply())[:3] for _ in range(3)]
        assert codes == ["250", "250", "354", "250", "250", "250", "354", "250", "250", "221"]
        assert await client.rest() == b""
    assert [message.content for message in sink.messages] == [b"one\r\n", b"two\r\n"]


async def test_thousands_of_commands_may_wait_in_the_pipeline(sink: Receiver) -> None:
    async with connected(sink) as client:
        await client.hello()
        client.writer.write(b"NOOP\r\n" * 5000)
        assert {await client.reply() for _ in range(5000)} == {"250 2.0.0 Ok"}


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b"", b""),
        (b"..\r\n", b".\r\n"),
        (b"...\r\n..a\r\n", b"..\r\n.a\r\n"),
        (b"a\r\n..\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
        (b"bare\n.\nlf\r\n", b"bare\n.\nlf\r\n"),
        (b"bare\r.\rcr\r\n", b"bare\r.\rcr\r\n"),
        (b"half\r\n.\nway\n.\r\n", b"half\r\n\nway\n.\r\n"),
        (bytes(range(256)).replace(b"\r", b"") + b"\r\n", bytes(range(256)).replace(b"\r", b"") + b"\r\n"),
        (b"caf\xe9 \xff\r\n", b"caf\xe9 \xff\r\n"),
    ],
)
@pytest.mark.parametrize("step", [1, 65536])
async def test_the_content_is_the_octets_that_came_without_the_stuffing(
    sink: Receiver, sent: bytes, content: bytes, step: int
) -> None:
    async with connected(sink) as client:
        await client.hello()
        await client.ask(_MAIL)
        await client.ask(_RCPT)
        await client.ask(b"DATA\r\n")
        octets = sent + b".\r\n"
        for start in range(0, len(octets), step):
            client.writer.write(octets[start : start + step])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.reply()).startswith("250 ")
    assert sink.messages[0].content == content


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([b".", b"..", b"\r\n", b"\n", b"\r", b"a", b"\xff", b"\0"]), max_size=30))
def test_any_content_stuffed_by_the_rule_comes_out_as_it_was(parts: list[bytes]) -> None:
    content = b"".join(parts) + b"\r\n"
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]

    async def send() -> bytes:
        async with Receiver() as sink, connected(sink) as client:
            await client.hello()
            await client.ask(_MAIL)
            await client.ask(_RCPT)
            await client.ask(b"DATA\r\n")
            await client.ask(stuffed + b".\r\n")
            return sink.messages[0].content

    assert asyncio.run(send()) == content


async def test_a_scripted_reply_is_given_as_often_as_told_and_to_whom(sink: Receiver) -> None:
    sink.answer("RCPT", "b@example.net", "450 4.7.1 come back later", times=1)
    async with connected(sink) as client:
        await client.hello()
        await client.ask(_MAIL)
        replies = [await client.ask(line) for line in (b"RCPT TO:<B@example.net>\r\n", _RCPT, _RCPT)]
    assert replies == ["250 2.1.5 Ok", "450 4.7.1 come back later", "250 2.1.5 Ok"]


@pytest.mark.parametrize(
    ("about", "address", "matches"),
    [
        (None, b"b@example.net", True),
        ("b@example.net", b"b@EXAMPLE.net", True),
        ("b@example.net", b"B@example.net", False),
        ("@example.net", b"anybody@Example.net", True),
        ("@example.net", b"b@sub.example.net", False),
        ("example.net", b"b@example.net", False),
    ],
)
async def test_an_answer_is_about_an_address_a_domain_or_anything(
    sink: Receiver, about: str | None, address: bytes, matches: bool
) -> None:
    sink.answer("RCPT", about, "550 5.1.1 no")
    async with connected(sink) as client:
        await client.hello()
        await client.ask(_MAIL)
        assert (await client.ask(b"RCPT TO:<" + address + b">\r\n")).startswith("550") is matches


async def test_answers_apply_in_the_order_given_and_a_lasting_one_replaces_earlier_ones(sink: Receiver) -> None:
    async with connected(sink) as client:
        await client.hello()
        sink.answer("NOOP", None, "450 never said")
        sink.answer("NOOP", None, "250 always")
        sink.answer("RSET", None, "451 first", times=1)
        sink.answer("RSET", None, "452 second", times=1)
        asked = [await client.ask(line) for line in (b"NOOP\r\n", b"NOOP\r\n", b"RSET\r\n", b"RSET\r\n", b"RSET\r\n")]
    assert asked == ["250 always", "250 always", "451 first", "452 second", "250 2.0.0 Ok"]


@pytest.mark.parametrize(
    ("verb", "about", "lines", "codes"),
    [
        ("GREETING", None, [], ["454"]),
        ("EHLO", "client.example", [], ["220", "454"]),
        ("MAIL", "a@example.com", [_MAIL], ["220", "250", "454"]),
        ("MAIL", None, [_MAIL, _RCPT], ["220", "250", "454", "503"]),
        ("DATA", "b@example.net", [_MAIL, _RCPT, b"DATA\r\n"], ["220", "250", "250", "250", "454"]),
        ("DOT", None, [_MAIL, _RCPT, b"DATA\r\n", b"x\r\n.\r\n"], ["220", "250", "250", "250", "354", "454"]),
        ("DOT", "@example.net", [_MAIL, _RCPT, b"DATA\r\n", b".\r\n"], ["220", "250", "250", "250", "354", "454"]),
        ("QUIT", None, [b"QUIT\r\n"], ["220", "250", "454"]),
    ],
)
async def test_each_step_can_be_refused(
    sink: Receiver, verb: str, about: str | None, lines: list[bytes], codes: list[str]
) -> None:
    sink.answer(verb, about, "454 4.3.0 not now")
    async with connected(sink) as client:
        seen = [(await client.reply())[:3]]
        for line in [b"EHLO client.example\r\n", *lines][: len(codes) - 1]:
            seen.append((await client.ask(line))[:3])
    assert seen == codes
    assert sink.messages == []


async def test_starttls_can_be_refused_and_the_session_goes_on(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with Receiver(tls=contexts[0]) as sink, connected(sink) as client:
        sink.answer("STARTTLS", None, "454 4.7.0 TLS not available")
        await client.hello()
        assert await client.ask(b"STARTTLS\r\n") == "454 4.7.0 TLS not available"
        assert await client.ask(_MAIL) == "250 2.1.0 Ok"


async def test_after_a_refusing_greeting_only_quit_is_obeyed(sink: Receiver) -> None:
    sink.answer("GREETING", None, "554 5.7.1 go away")
    async with connected(sink) as client:
        replies = [await client.reply(), await client.ask(b"EHLO client.example\r\n"), await client.ask(b"QUIT\r\n")]
    assert replies == ["554 5.7.1 go away", "503 Not welcome here", "221 Bye"]


async def test_the_connection_is_closed_after_a_421(sink: Receiver) -> None:
    sink.answer("MAIL", None, "421 4.3.2 shutting down")
    async with connected(sink) as client:
        await client.hello()
        assert await client.ask(_MAIL) == "421 4.3.2 shutting down"
        assert await client.rest() == b""


async def test_a_reply_of_several_lines_has_its_code_on_each(sink: Receiver) -> None:
    sink.answer("RCPT", None, "550 5.7.1 Blocked.\n5.7.1 See https://example.net/why\n5.7.1 Bye.")
    async with connected(sink) as client:
        await client.hello()
        await client.ask(_MAIL)
        reply = await client.ask(_RCPT)
    assert reply == "550-5.7.1 Blocked.\n550-5.7.1 See https://example.net/why\n550 5.7.1 Bye."


async def test_octets_are_sent_as_they_are(sink: Receiver) -> None:
    sink.answer("NOOP", None, b"250 staged\r\n\x00\xff no reply at all\n")
    async with connected(sink) as client:
        await client.hello()
        client.writer.write(b"NOOP\r\nQUIT\r\n")
        assert await client.rest() == b"250 staged\r\n\x00\xff no reply at all\n221 2.0.0 Bye\r\n"


@pytest.mark.parametrize(
    ("verb", "reply"),
    [("RCTP", "250 Ok"), ("RCPT", "no code"), ("RCPT", "650 unheard of"), ("RCPT", "250 a\rb"), ("RCPT", "")],
)
def test_a_script_that_makes_no_sense_is_refused(verb: str, reply: str) -> None:
    with pytest.raises(ValueError, match=r"nothing to answer|no reply"):
        Receiver().answer(verb, None, reply)


@pytest.mark.parametrize(
    ("verb", "sent"),
    [
        ("GREETING", b""),
        ("EHLO", b"EHLO client.example\r\n"),
        ("MAIL", b"EHLO client.example\r\n" + _MAIL),
        ("RCPT", b"EHLO client.example\r\n" + _MAIL + _RCPT),
        ("DATA", b"EHLO client.example\r\n" + _MAIL + _RCPT + b"DATA\r\n"),
        ("DOT", b"EHLO client.example\r\n" + _MAIL + _RCPT + b"DATA\r\nx\r\n.\r\n"),
        ("QUIT", b"EHLO client.example\r\n" + _MAIL + _RCPT + b"DATA\r\nx\r\n.\r\nQUIT\r\n"),
    ],
)
async def test_the_receiver_hangs_up_at_any_step(sink: Receiver, verb: str, sent: bytes) -> None:
    sink.answer(verb, None, Behaviour.CLOSE)
    async with connected(sink) as client:
        client.writer.write(sent)
        replies = await client.rest()
    steps = ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT", "QUIT"]
    assert len([line for line in replies.splitlines() if line[3:4] == b" "]) == steps.index(verb)
    assert len(sink.messages) == (1 if verb == "QUIT" else 0)


async def test_a_hanging_receiver_answers_nothing_until_the_client_leaves(sink: Receiver) -> None:
    sink.answer("DOT", None, Behaviour.HANG, times=1)
    async with connected(sink) as client:
        await client.hello()
        await client.ask(_MAIL)
        await client.ask(_RCPT)
        await client.ask(b"DATA\r\n")
        client.writer.write(b"x\r\n.\r\n")
        client.writer.write_eof()
        assert await client.rest() == b""
    assert sink.messages == []


async def test_leaving_the_block_ends_hanging_connections() -> None:
    async with AsyncExitStack() as clients:
        async with Receiver() as sink:
            sink.answer("RSET", None, Behaviour.HANG)
            client = await clients.enter_async_context(connected(sink))
            await client.hello()
            await client.ask(b"NOOP\r\nRSET\r\n")
        assert await client.rest() == b""


@pytest.mark.parametrize("absent", sorted(Extension))
async def test_an_extension_can_be_left_out(contexts: tuple[ssl.SSLContext, ssl.SSLContext], absent: Extension) -> None:
    async with (
        Receiver(tls=contexts[0], extensions=set(Extension) - {absent}) as sink,
        connected(sink) as client,
    ):
        await client.reply()
        lines = (await client.ask(b"EHLO client.example\r\n")).split("\n")
        offered = {line[4:].split()[0] for line in lines[1:]}
    assert offered == set(Extension) - {absent}


async def test_starttls_is_not_offered_without_a_certificate(sink: Receiver) -> None:
    async with connected(sink) as client:
        await client.reply()
        assert "STARTTLS" not in await client.ask(b"EHLO client.example\r\n")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([b"MAIL FROM:<a@example.com>\r\n"], "503"),
        ([b"HELO client.example\r\n", b"MAIL FROM:<a@example.com> SIZE=10\r\n"], "555"),
        ([b"EHLO client.example\r\n", _RCPT], "503"),
        ([b"EHLO client.example\r\n", b"DATA\r\n"], "503"),
        ([b"EHLO client.example\r\n", _MAIL, b"DATA\r\n"], "554"),
        ([b"EHLO client.example\r\n", _MAIL, _MAIL], "503"),
        ([b"EHLO client.example\r\n", _MAIL, b"RSET\r\n", _MAIL], "250"),
        ([b"EHLO client.example\r\n", _MAIL, b"EHLO client.example\r\n", _MAIL], "250"),
        ([b"EHLO\r\n"], "501"),
        ([b"EHLO client.example\r\n", b"MAIL FROM: <a@example.com>\r\n"], "501"),
        ([b"EHLO client.example\r\n", b"MAIL FROM:a@example.com\r\n"], "501"),
        ([b"EHLO client.example\r\n", b"MAIL TO:<a@example.com>\r\n"], "501"),
        ([b"EHLO client.example\r\n", b"MAIL FROM:<a@example.com>BODY=8BITMIME\r\n"], "501"),
        ([b"EHLO client.example\r\n", b"MAIL FROM:<>\r\n"], "250"),
        ([b"EHLO client.example\r\n", _MAIL, b"RCPT TO:<>\r\n"], "501"),
        ([b"EHLO client.example\r\n", b"MAIL FROM:<a@example.com> AUTH=<>\r\n"], "555"),
        ([b"EHLO client.example\r\n", b"MAIL FROM:<a@example.com> SIZE=ten\r\n"], "501"),
        ([b"EHLO client.example\r\n", b"MAIL FROM:<a@example.com> SIZE=2000000000\r\n"], "552"),
        ([b"EHLO client.example\r\n", "MAIL FROM:<é@example.com>\r\n".encode()], "553"),
        ([b"EHLO client.example\r\n", "MAIL FROM:<é@example.com> SMTPUTF8\r\n".encode()], "250"),
        ([b"EHLO client.example\r\n", b'MAIL FROM:<"a >\\" b"@example.com>\r\n'], "250"),
        ([b"EHLO client.example\n"], "500"),
        ([b"EHLO client\rexample\r\n"], "500"),
        ([b"EHLO \0\r\n"], "500"),
        ([b"EHLO \xff\r\n"], "500"),
        ([b"NOOP " + b"x" * 3000 + b"\r\n"], "500"),
        ([b"NOOP " + b"x" * 300_000 + b"\r\n", b"NOOP\r\n"], "250"),
        ([b"STARTTLS\r\n"], "500"),
        ([b"VRFY b@example.net\r\n"], "252"),
        ([b"\r\n"], "500"),
    ],
)
async def test_the_last_of_these_lines_is_answered_strictly(sink: Receiver, lines: list[bytes], code: str) -> None:
    async with connected(sink) as client:
        await client.reply()
        for line in lines:
            reply = await client.ask(line)
    assert reply[:3] == code


async def test_enhanced_codes_are_left_out_where_they_are_not_offered() -> None:
    async with Receiver(extensions=set()) as sink, connected(sink) as client:
        await client.hello()
        assert await client.ask(_MAIL) == "250 Ok"


async def test_a_message_over_the_limit_is_read_to_its_end_and_refused() -> None:
    async with Receiver(size_limit=1000) as sink, connected(sink) as client:
        await client.hello()
        codes = []
        for size in (1001, 500_000, 998):
            await client.ask(_MAIL)
            await client.ask(_RCPT)
            await client.ask(b"DATA\r\n")
            codes.append((await client.ask(b"x" * size + b"\r\n.\r\n"))[:3])
        assert codes == ["552", "552", "250"]
        assert [len(message.content) for message in sink.messages] == [1000]


async def test_greylisting_defers_the_first_attempt_of_each_pair(sink: Receiver) -> None:
    sink.greylist()
    codes = []
    async with connected(sink) as client:
        await client.hello()
        for path in (b"a", b"a", b"other", b"a"):
            await client.ask(b"MAIL FROM:<" + path + b"@example.com>\r\n")
            codes.append(await client.ask(_RCPT))
            await client.ask(b"RSET\r\n")
    assert codes == ["450 4.2.0 Greylisted", "250 2.1.5 Ok", "450 4.2.0 Greylisted", "250 2.1.5 Ok"]


async def test_greylisting_by_time_counts_from_the_first_attempt() -> None:
    times = iter((1000.0, 1299.0, 1300.0))
    async with Receiver(clock=lambda: next(times)) as sink, connected(sink) as client:
        sink.greylist(attempts=0, seconds=300)
        await client.hello()
        await client.ask(_MAIL)
        codes = [(await client.ask(_RCPT))[:3] for _ in range(3)]
    assert codes == ["450", "450", "250"]


async def test_waiting_ends_when_the_messages_have_come_from_any_connection(sink: Receiver) -> None:
    sends = [
        _smtplib(sink, lambda client: client.sendmail("a@example.com", "b@example.net", _CONTENT)) for _ in range(3)
    ]
    messages = await sink.wait_for(3)
    assert sorted(message.connection for message in messages) == [1, 2, 3]
    assert sink.connections == 3
    await asyncio.gather(*sends)


async def test_waiting_in_vain_says_what_came_instead(sink: Receiver) -> None:
    async with connected(sink) as client:
        await client.hello()
        with pytest.raises(TimeoutError, match=r"0 of 1 messages.*1 connections.*EHLO client\.example"):
            await sink.wait_for(1, timeout=0.01)


async def test_it_listens_on_the_host_and_port_given() -> None:
    async with Receiver("::1") as first:
        assert first.address == f"[::1]:{first.port}"
        port = first.port
    async with Receiver("::1", port) as second:
        assert second.port == port
        async with connected(second) as client:
            assert (await client.reply()).startswith("220 ")
