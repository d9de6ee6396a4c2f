"""What is spoken on one connection, octet for octet, seen by a strict receiver."""

from collections.abc import AsyncIterator

import pytest

from mta.demo.receiver import Behaviour, Extension, Receiver
from mta.mail.address import Mailbox
from mta.mail.envelope import BodyType, Notify, Recipient, Return
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome
from mta.queue.model import Content
from mta.queue.seams import Host, Letter, Site
from tests.delivery.lenient import Lenient
from tests.delivery.world import (
    HEADER,
    SHORT,
    SIGNATURE,
    broken_context,
    eight_bit_letter,
    letter,
    ours,
    server_context,
    settings,
    site,
    transport,
)

ALL = frozenset(Extension)


@pytest.fixture
async def sink() -> AsyncIterator[Receiver]:
    async with Receiver() as sink:
        yield sink


async def _send(sink: Receiver, one: Letter, *, require_tls: bool = False) -> Outcome:
    async with transport() as sending:
        return await sending.deliver(one, site(sink, require_tls=require_tls), ours)


# the commands


@pytest.mark.parametrize("extensions", [ALL, ALL - {Extension.PIPELINING}])
async def test_a_transaction_is_the_same_pipelined_and_step_by_step(extensions: frozenset[Extension]) -> None:
    async with Receiver(extensions=extensions) as sink:
        await _send(sink, letter())
    content = SIGNATURE + HEADER + b"\r\nHello\r\n"
    assert [command.partition(" ")[0] for command in sink.commands] == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    (got,) = sink.messages
    assert (got.helo, got.reverse_path, got.recipients) == (
        "mail.example.com",
        "b00return@bounces.example.com",
        ("a@example.net",),
    )
    assert got.mail_parameters == (f"SIZE={len(content)}",)
    assert got.content == content


@pytest.mark.parametrize("extensions", [ALL, ALL - {Extension.PIPELINING}])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
async def test_after_a_refusal_the_next_transaction_begins_clean(verb: str, extensions: frozenset[Extension]) -> None:
    async with Receiver(extensions=extensions) as sink:
        sink.answer(verb, None, "550 5.1.1 no", times=1)
        async with transport() as sending:
            assert isinstance(await sending.deliver(letter(), site(sink), ours), Bounced)
            assert isinstance(await sending.deliver(letter(), site(sink), ours), Delivered)
    assert sink.connections == 1
    assert "RSET" in sink.commands


async def test_a_host_that_wants_content_for_nobody_gets_an_empty_message() -> None:
    # RFC 2920 §3.1 has these servers in mind
    async with Lenient(refuses="a@example.net") as lenient, transport() as sending:
        there = Site("mx", (Host("mx1.example.net", lenient.port),))
        outcome = await sending.deliver(letter(), there, ours)
        assert isinstance(outcome, Bounced)
        assert str(outcome.reply) == "550 5.1.1 no such user"
        assert outcome.tries[0].stage == "rcpt"
        assert isinstance(await sending.deliver(letter("b@example.net"), there, ours), Delivered)
    assert lenient.connections == 1
    assert lenient.contents == [b"", SIGNATURE + HEADER + b"\r\nHello\r\n"]


async def test_a_null_reverse_path_is_empty(sink: Receiver) -> None:
    await _send(sink, letter(reverse_path=None))
    assert sink.messages[0].reverse_path == ""


async def test_helo_is_tried_where_ehlo_is_not_known(sink: Receiver) -> None:
    sink.answer("EHLO", None, "502 5.5.1 what?")
    assert isinstance(await _send(sink, letter()), Delivered)
    assert sink.commands[1] == "HELO mail.example.com"
    assert sink.messages[0].mail_parameters == ()


async def test_dsn_parameters_are_passed_on_encoded(sink: Receiver) -> None:
    to = Recipient(Mailbox("a", "example.net"), frozenset({Notify.FAILURE, Notify.SUCCESS}), "rfc822;a+b=c@example.net")
    await _send(sink, letter(recipient=to, ret=Return.HEADERS, envid="id 7"))
    (got,) = sink.messages
    assert set(got.mail_parameters) >= {"RET=HDRS", "ENVID=id+207"}
    assert got.rcpt_parameters == (("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;a+2Bb+3Dc@example.net"),)


async def test_dsn_parameters_stay_here_where_dsn_is_not_offered() -> None:
    to = Recipient(Mailbox("a", "example.net"), frozenset({Notify.NEVER}), "rfc822;a@example.net")
    async with Receiver(extensions=ALL - {Extension.DSN}) as sink:
        outcome = await _send(sink, letter(recipient=to, ret=Return.FULL, envid="x"))
    assert isinstance(outcome, Delivered)
    assert sink.messages[0].rcpt_parameters == ((),)


# what a message demands


async def test_eight_bit_content_is_declared(sink: Receiver) -> None:
    await _send(sink, eight_bit_letter())
    assert "BODY=8BITMIME" in sink.messages[0].mail_parameters
    assert sink.messages[0].content.endswith("Grüße\r\n".encode())


async def test_eight_bit_content_bounces_where_it_is_not_taken() -> None:
    async with Receiver(extensions=ALL - {Extension.EIGHT_BIT_MIME}) as sink:
        outcome = await _send(sink, eight_bit_letter())
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply.status) == "5.6.3"
    assert not outcome.tries[0].remote
    assert "MAIL" not in " ".join(sink.commands)


async def test_content_that_is_merely_declared_eight_bit_goes_anywhere() -> None:
    async with Receiver(extensions=ALL - {Extension.EIGHT_BIT_MIME}) as sink:
        assert isinstance(await _send(sink, letter(body_type=BodyType.EIGHT_BIT)), Delivered)


async def test_an_international_mailbox_is_sent_as_utf8(sink: Receiver) -> None:
    await _send(sink, letter("jürgen@example.net", smtputf8=True))
    assert "SMTPUTF8" in sink.messages[0].mail_parameters
    assert sink.recipients == [["jürgen@example.net"]]


async def test_an_international_mailbox_bounces_where_it_is_not_taken() -> None:
    async with Receiver(extensions=ALL - {Extension.SMTPUTF8}) as sink:
        outcome = await _send(sink, letter("jürgen@example.net", smtputf8=True))
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply.status) == "5.6.7"


async def test_a_message_larger_than_the_host_takes_bounces_unsent() -> None:
    async with Receiver(size_limit=1000) as sink:
        outcome = await _send(sink, letter(body=b"x" * 70 + b"\r\n" + b"y" * 900 + b"\r\n"))
    assert isinstance(outcome, Bounced)
    assert (outcome.reply.code, str(outcome.reply.status)) == (552, "5.3.4")
    assert "MAIL" not in " ".join(sink.commands)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (HEADER, b"a\nb\r\n"),
        (HEADER, b"a\rb\r\n"),
        (HEADER, b"a\r\n.\nMAIL FROM:<x@example.org>\r\n"),
        (HEADER, b"nul\0\r\n"),
        (b"Subject: a\nBcc: b\r\n", b"a\r\n"),
        (b"Subject: unfinished", b"a\r\n"),
    ],
)
async def test_what_could_be_read_as_two_messages_is_never_written(header: bytes, body: bytes, sink: Receiver) -> None:
    outcome = await _send(sink, letter(header=header, body=body))
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply.status) == "5.6.0"
    assert "MAIL" not in " ".join(sink.commands)


async def test_a_command_with_a_line_end_in_it_is_never_written(sink: Receiver) -> None:
    forged = Recipient(Mailbox("a>\r\nRCPT TO:<b", "example.net"))
    with pytest.raises(ValueError, match="control character"):
        await _send(sink, letter(recipient=forged))
    assert "RCPT" not in " ".join(sink.commands)


@pytest.mark.parametrize(
    "body",
    [
        (b".\r\n..\r\n.hidden\r\n",),
        (b"a\r\n", b".b\r\n"),
        (b"a\r", b"\n.b\r\n"),
        (b"a\r\n.", b"\r\nb\r\n"),
        (b"",),
        (),
        (b".",),
    ],
)
async def test_content_arrives_octet_for_octet(body: tuple[bytes, ...], sink: Receiver) -> None:
    await _send(sink, letter(body=body))
    sent = SIGNATURE + HEADER + b"\r\n" + b"".join(body)
    assert sink.messages[0].content == (sent if sent.endswith(b"\r\n") else sent + b"\r\n")


async def test_five_megabytes_arrive_octet_for_octet(sink: Receiver) -> None:
    octets = b"".join(b"%07d %s\r\n.x\r\n" % (number, b"." * 64) for number in range(65_000))
    pieces = tuple(octets[start : start + Content.PIECE] for start in range(0, len(octets), Content.PIECE))
    assert isinstance(await _send(sink, letter(body=pieces)), Delivered)
    assert sink.messages[0].content == SIGNATURE + HEADER + b"\r\n" + octets


async def test_a_host_that_stops_reading_meets_the_block_limit() -> None:
    async with Lenient(reads_content=False) as host, transport(settings(block=SHORT)) as sending:
        there = Site("mx", (Host("mx1.example.net", host.port),))
        outcome = await sending.deliver(letter(body=(b"x" * 70 + b"\r\n") * 300_000), there, ours)
    assert isinstance(outcome, Deferred)
    assert (outcome.tries[0].stage, outcome.in_doubt) == ("data", False)


# hostile replies


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"250-x\r\n" * 5000, "more than 100 lines"),
        (b"250 " + b"x" * 5000 + b"\r\n", "more than 2048 octets"),
        (b"x" * 100_000, "more than 2048 octets"),
        (b"hello\r\n", "not a reply: hello"),
        (b"999 no such code\r\n", "not a reply"),
        (b"\x00\xff\r\n", "not a reply"),
    ],
)
@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "RCPT", "DOT"])
async def test_what_is_no_reply_drops_the_connection(verb: str, said: bytes, told: str, sink: Receiver) -> None:
    sink.answer(verb, None, said)
    outcome = await _send(sink, letter())
    assert isinstance(outcome, Deferred)
    assert outcome.in_doubt is (verb == "DOT")
    assert (outcome.reply.code, str(outcome.reply.status)) == (451, "4.5.0")
    assert told in outcome.reply.text
    assert not outcome.tries[0].remote


async def test_replies_that_nobody_asked_for_are_not_taken_for_others(sink: Receiver) -> None:
    sink.answer("EHLO", None, b"250-mx.example.net\r\n250 SIZE 1000000\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n")
    assert isinstance(await _send(sink, letter()), Deferred)
    assert not sink.messages


@pytest.mark.parametrize(("extra", "code"), [(b"250 ok\r\n", 451), (b"421 bye\r\n", 421), (b"554 no\r\n", 554)])
async def test_a_reply_too_many_before_mail_is_no_answer_to_mail(extra: bytes, code: int, sink: Receiver) -> None:
    sink.answer("EHLO", None, b"250-mx.example.net\r\n250 SIZE 1000000\r\n" + extra)
    outcome = await _send(sink, letter())
    assert isinstance(outcome, Deferred)
    assert (outcome.tries[0].stage, outcome.reply.code) == ("ehlo", code)
    assert "MAIL" not in " ".join(sink.commands)


async def test_replies_are_kept_without_control_characters(sink: Receiver) -> None:
    sink.answer("RCPT", None, b"550-5.1.1 red \x1b[31m\xc2\x85\r\n550 5.1.1 line two\xff\r\n")
    outcome = await _send(sink, letter())
    assert str(outcome.reply.status) == "5.1.1"
    assert outcome.reply.text.isprintable() or outcome.reply.text.replace("\n", "").isprintable()


async def test_a_refusal_in_the_midst_of_the_content_is_the_answer() -> None:
    async with Lenient(interrupts=b"552 5.3.4 too much\r\n") as host, transport() as sending:
        there = Site("mx", (Host("mx1.example.net", host.port),))
        outcome = await sending.deliver(letter(body=((b"x" * 70 + b"\r\n") * 1000,) * 100), there, ours)
    assert isinstance(outcome, Bounced)
    assert (outcome.tries[0].stage, str(outcome.reply)) == ("data", "552 5.3.4 too much")


async def test_the_word_of_a_host_that_hangs_up_in_the_midst_of_the_content_counts_more_than_the_loss() -> None:
    async with Lenient(interrupts=b"552 5.3.4 too much\r\n", hangs_up=True) as host, transport() as sending:
        there = Site("mx", (Host("mx1.example.net", host.port),))
        outcome = await sending.deliver(letter(body=(b"x" * 70 + b"\r\n") * 300_000), there, ours)
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply) == "552 5.3.4 too much"


# TLS


async def test_tls_is_used_when_offered_whoever_made_the_certificate() -> None:
    async with Receiver(tls=server_context()) as sink:
        outcome = await _send(sink, letter())
    assert isinstance(outcome, Delivered)
    assert sink.messages[0].tls
    tls = outcome.tries[0].tls
    assert tls is not None
    assert (tls.version, tls.policy, tls.verified) == ("TLSv1.3", "opportunistic", False)
    assert tls.cipher
    assert [command.partition(" ")[0] for command in sink.commands[:3]] == ["EHLO", "STARTTLS", "EHLO"]


async def test_letters_follow_one_another_under_tls() -> None:
    async with Receiver(tls=server_context()) as sink, transport() as sending:
        for _ in range(3):
            assert isinstance(await sending.deliver(letter(), site(sink), ours), Delivered)
        assert sink.connections == 1


async def test_a_broken_handshake_falls_back_to_plaintext_and_says_so() -> None:
    async with Receiver(tls=broken_context()) as sink:
        outcome = await _send(sink, letter())
    assert isinstance(outcome, Delivered)
    assert not sink.messages[0].tls
    assert sink.connections == 2
    first, second = outcome.tries
    assert (first.stage, str(first.reply.status), first.remote) == ("starttls", "4.7.5", False)
    assert second.stage == "dot"
    assert second.tls is not None
    assert not second.tls.is_used
    assert "STARTTLS" in second.tls.offered
    assert "TLS handshake" in second.tls.proof


@pytest.mark.parametrize("how", ["454 4.7.0 no TLS today", "500 5.5.1 what?", Behaviour.CLOSE])
async def test_a_refused_starttls_falls_back_to_plaintext(how: str | Behaviour) -> None:
    async with Receiver(tls=server_context()) as sink:
        sink.answer("STARTTLS", None, how)
        outcome = await _send(sink, letter())
    assert isinstance(outcome, Delivered)
    assert [one.stage for one in outcome.tries] == ["starttls", "dot"]


@pytest.mark.parametrize("context", [None, broken_context()])
async def test_required_tls_that_fails_defers(context: object) -> None:
    async with Receiver(tls=context) as sink:  # type: ignore[arg-type]  # a context or None
        outcome = await _send(sink, letter(), require_tls=True)
    assert isinstance(outcome, Deferred)
    assert outcome.tries[-1].stage == "starttls"
    assert sink.connections == 1
    assert not sink.messages


async def test_required_tls_that_works_is_recorded_as_required() -> None:
    async with Receiver(tls=server_context()) as sink:
        outcome = await _send(sink, letter(), require_tls=True)
    assert outcome.tries[0].tls is not None
    assert outcome.tries[0].tls.policy == "require"


async def test_octets_injected_behind_starttls_end_the_connection_without_fallback() -> None:
    async with Receiver(tls=server_context()) as sink:
        sink.answer("STARTTLS", None, b"220 2.0.0 Go ahead\r\n250-mx.example.net\r\n250 AUTH PLAIN\r\n")
        outcome = await _send(sink, letter())
    assert isinstance(outcome, Deferred)
    assert (outcome.tries[0].stage, str(outcome.reply.status)) == ("starttls", "4.5.0")
    assert sink.connections == 1


async def test_extensions_offered_before_tls_are_forgotten() -> None:
    async with Receiver(tls=server_context()) as sink:
        sink.answer("EHLO", None, "250 mx.example.net\nSIZE 10\nSTARTTLS", times=1)
        # the receiver itself offers STARTTLS only to who has been greeted its own way
        assert isinstance(await _send(sink, letter()), Delivered)


async def test_implicit_tls_speaks_tls_from_the_first_octet() -> None:
    async with Lenient(tls=True) as host, transport() as sending:
        there = Site("mx", (Host("mx1.example.net", host.port, implicit_tls=True),))
        outcome = await sending.deliver(letter(), there, ours)
    assert isinstance(outcome, Delivered)
    assert outcome.tries[0].tls is not None
    assert "STARTTLS" not in host.commands


# AUTH


@pytest.mark.parametrize(
    ("offered", "lines"),
    [
        ("AUTH LOGIN PLAIN", ["AUTH PLAIN AHUAcA=="]),
        ("AUTH LOGIN", ["AUTH LOGIN dQ==", "cA=="]),
    ],
)
async def test_a_relay_is_told_who_we_are(offered: str, lines: list[str]) -> None:
    async with Lenient(offers=offered) as host, transport() as sending:
        relay = Site("relay", (Host("127.0.0.1", host.port, user="u", password="p", trusted=True),))
        assert isinstance(await sending.deliver(letter(), relay, ours), Delivered)
    assert [command for command in host.commands if command in lines] == lines


@pytest.mark.parametrize(("offered", "code"), [("AUTH PLAIN", 535), ("AUTH CRAM-MD5", 451), ("SIZE", 451)])
async def test_mail_waits_when_a_relay_does_not_let_us_in(offered: str, code: int) -> None:
    async with Lenient(offers=offered, lets_in=False) as host, transport() as sending:
        relay = Site("relay", (Host("127.0.0.1", host.port, user="u", password="secret", trusted=True),))
        outcome = await sending.deliver(letter(), relay, ours)
    assert isinstance(outcome, Deferred)
    assert (outcome.tries[0].stage, outcome.reply.code) == ("auth", code)
    assert "secret" not in repr(outcome)
