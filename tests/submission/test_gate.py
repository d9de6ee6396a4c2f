"""Suppressed recipients are refused at RCPT, suspended accounts and streams at MAIL or at the dot."""

import asyncio

import pytest

from mta.accounts.account import Account, Login
from mta.accounts.standing import Standing
from mta.errors import StoreUnavailable
from mta.mail.address import Mailbox
from mta.submission.gate import OpenGate, may_begin
from tests.submission.conftest import HEADER, SHOP, House, Talk

REASON = "hard bounces are 10.0% (100 of 1000) in the last 24 hours, the limit is 10.0%"
WHOLE = f"550 5.7.1 Account shop is suspended: {REASON}"
BULK = f"550 5.7.1 Stream bulk of account shop is suspended: {REASON}"
TRANSACTIONAL = f"550 5.7.1 Stream transactional of account shop is suspended: {REASON}"
SUPPRESSED = "550 5.7.1 Recipient suppressed: it bounced on 2026-11-22 (550 5.1.1 no such user)"


async def as_login(house: House, login: str) -> Talk:
    """Connect and log in, perhaps with a fixed stream."""
    talk = await house.talk()
    credential = house.one_use.issue(*login.split("/"))
    await talk.ask("EHLO x")
    await talk.log_in(credential.login, credential.secret)
    return talk


@pytest.mark.parametrize(
    ("suspended", "fixed", "default", "what"),
    [
        ([], None, "transactional", None),
        ([""], None, "transactional", "Account shop"),
        ([""], "bulk", "transactional", "Account shop"),
        (["bulk"], None, "transactional", None),
        (["bulk"], None, "bulk", None),
        (["bulk"], "bulk", "transactional", "Stream bulk of account shop"),
        (["bulk"], "transactional", "transactional", None),
        (["transactional", "bulk"], None, "transactional", "Stream transactional of account shop"),
        (["transactional", "bulk"], None, "bulk", "Stream bulk of account shop"),
    ],
)
def test_mail_is_refused_when_no_stream_that_it_may_name_is_free(
    suspended: list[str], fixed: str | None, default: str, what: str | None
) -> None:
    def asked(account: str, stream: str) -> Standing | None:
        assert account == "shop"
        return next((Standing("shop", each, reason="r") for each in suspended if each in ("", stream)), None)

    refusal = may_begin(Login(Account("shop", SHOP.domains, stream=default), fixed), asked)
    assert str(refusal) == (f"550 5.7.1 {what} is suspended: r" if what else "None")


@pytest.mark.parametrize("login", ["shop", "shop/bulk", "shop/transactional"])
async def test_a_suspended_account_hears_why_at_mail(house: House, login: str) -> None:
    house.gate.suspend()
    async with await as_login(house, login) as talk:
        assert await talk.ask("MAIL FROM:<a@own.example>") == WHOLE
        assert await talk.ask("MAIL FROM:<>") == WHOLE
        assert (await talk.ask("RCPT TO:<b@example.net>")).startswith("503 5.5.1")
    assert house.messages == []


async def test_a_fixed_stream_that_is_suspended_hears_why_at_mail(house: House) -> None:
    house.gate.suspend("bulk")
    async with await as_login(house, "shop/bulk") as talk:
        assert await talk.ask("MAIL FROM:<a@own.example>") == BULK
    async with await as_login(house, "shop/transactional") as talk:
        assert (await talk.submit(HEADER + b"\r\n.\r\n")).startswith("250")


@pytest.mark.parametrize(
    ("suspended", "field", "reply"),
    [
        ("bulk", b"X-MTA-Stream: bulk\r\n", BULK),
        ("bulk", b"X-MTA-Stream: transactional\r\n", "250 2.0.0 "),
        ("bulk", b"", "250 2.0.0 "),
        ("transactional", b"", TRANSACTIONAL),
        ("transactional", b"X-MTA-Stream: bulk\r\n", "250 2.0.0 "),
    ],
)
async def test_the_stream_that_the_header_names_is_judged_at_the_dot(
    house: House, suspended: str, field: bytes, reply: str
) -> None:
    house.gate.suspend(suspended)
    async with await house.logged_in() as talk:
        said = await talk.submit(field + HEADER + b"\r\n.\r\n", "b@example.net", "c@example.net")
    assert said.startswith(reply)
    assert len(house.messages) == len(house.watcher.events) == (1 if reply.startswith("250") else 0)


async def test_a_suspension_between_mail_and_the_dot_holds(house: House) -> None:
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        house.gate.suspend()
        assert await talk.ask(HEADER.decode() + "\r\n.") == WHOLE
        house.gate.standings.clear()
        assert (await talk.submit(HEADER + b"\r\n.\r\n")).startswith("250")
    assert len(house.messages) == 1


async def test_a_large_message_of_a_suspended_stream_is_refused_too(house: House) -> None:
    house.gate.suspend("transactional")
    async with await house.logged_in() as talk:
        assert (
            await talk.submit(HEADER + b"\r\n" + b"x" * 70 + b"\r\n" + b"y\r\n" * 200_000 + b".\r\n") == TRANSACTIONAL
        )


async def test_a_suppressed_recipient_is_refused_with_reason_and_date_and_the_others_get_their_mail(
    house: House,
) -> None:
    house.gate.suppress("gone@example.net")
    async with await house.logged_in() as talk:
        await talk.ask("MAIL FROM:<a@own.example>")
        assert await talk.ask("RCPT TO:<gone@EXAMPLE.net>") == SUPPRESSED
        assert (await talk.ask("DATA")).startswith("503 5.5.1")
        assert (await talk.ask("RCPT TO:<b@example.net>")).startswith("250")
        assert await talk.ask("RCPT TO:<gone@example.net>") == SUPPRESSED
        await talk.ask("DATA")
        assert (await talk.ask(HEADER.decode() + "\r\n.")).startswith("250")
    assert [str(row.delivery.recipient.mailbox) for row in house.store.memory.rows.values()] == ["b@example.net"]


async def test_what_a_host_once_replied_does_not_break_the_reply(house: House) -> None:
    from_a_host = "550 no\r\n250 2.1.5 Ok\u202e é" + "x" * 600
    entry = house.gate.suppress("gone@example.net")
    house.gate.entries[("shop", "gone@example.net")] = type(entry)(
        entry.account, entry.address, entry.cause, entry.origin, entry.at, detail=from_a_host
    )
    async with await house.logged_in() as talk:
        await talk.ask("MAIL FROM:<a@own.example>")
        reply = await talk.ask("RCPT TO:<gone@example.net>")
        assert reply.startswith("550 5.7.1 Recipient suppressed: it bounced on 2026-11-22 (550 no??250 2.1.5")
        assert len(reply) <= 520
        assert (await talk.ask("NOOP")).startswith("250 2.0.0")


async def test_only_what_would_be_taken_otherwise_is_looked_up(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.ask("RCPT TO:<early@example.net>")
        await talk.ask("MAIL FROM:<a@own.example>")
        for recipient in ("bad", "b@localhost", "b@example.net", "b@example.net"):
            await talk.ask(f"RCPT TO:<{recipient}>")
    assert house.gate.asked == ["b@example.net"]


async def test_a_list_that_cannot_be_read_is_451_for_the_recipient(house: House) -> None:
    house.gate.failure = StoreUnavailable("locked")
    async with await house.logged_in() as talk:
        await talk.ask("MAIL FROM:<a@own.example>")
        assert (await talk.ask("RCPT TO:<b@example.net>")).startswith("451 4.3.0 ")
        house.gate.failure = None
        assert (await talk.ask("RCPT TO:<b@example.net>")).startswith("250 2.1.5")


async def test_pipelined_recipients_are_answered_in_order_each_with_its_own_reply(house: House) -> None:
    house.gate.suppress("gone@example.net")
    async with await house.logged_in() as talk:
        await talk.send(
            b"MAIL FROM:<a@own.example>\r\nRCPT TO:<gone@example.net>\r\nRCPT TO:<b@example.net>\r\n"
            b"RCPT TO:<gone@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n"
            + HEADER
            + b"\r\nbody\r\n.\r\nRCPT TO:<late@example.net>\r\nQUIT\r\n"
        )
        codes = [line[:9] for line in (await talk.rest()).decode().splitlines()]
    assert codes == [
        "250 2.1.0",
        "550 5.7.1",
        "250 2.1.5",
        "550 5.7.1",
        "250 2.1.5",
        "354 End d",
        "250 2.0.0",
        "503 5.5.1",
        "221 2.0.0",
    ]
    assert len(house.messages) == 1
    assert house.octets().endswith(b"\r\n\r\nbody\r\n")


async def test_a_client_that_leaves_while_its_recipient_is_looked_up_is_let_go(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.send(b"MAIL FROM:<a@own.example>\r\n" + b"RCPT TO:<b@example.net>\r\n" * 50)
        talk.writer.transport.abort()
    await house.emptied()
    assert house.messages == []


async def test_refusals_are_counted_by_their_words(house: House) -> None:
    house.gate.suppress("gone@example.net")
    async with await house.logged_in() as talk:
        await talk.ask("MAIL FROM:<a@own.example>")
        await talk.ask("RCPT TO:<gone@example.net>")
        await talk.ask("RSET")
        house.gate.suspend()
        await talk.ask("MAIL FROM:<a@own.example>")
    assert house.counts.rejections == [("suppressed", "submission"), ("suspended", "submission")]


async def test_the_gate_stands_open_where_none_was_given() -> None:
    gate = OpenGate()
    async with asyncio.timeout(30):
        assert await gate.suppressed("shop", Mailbox("b", "example.net")) is None
    assert gate.suspended("shop", "bulk") is None
