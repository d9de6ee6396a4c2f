"""Dialogues over a raw socket: each line is a command and how its reply begins."""

import asyncio
import base64
from datetime import timedelta
from typing import cast

import pytest

from mta.accounts.account import Account, Directory
from mta.errors import StoreUnavailable
from mta.smtp.settings import Kind
from tests.submission.conftest import HEADER, HOSTNAME, PLAIN, House, OpenHouse

EHLO = ("EHLO client.example.net", "250-mail.own.example")
AUTH = (f"AUTH PLAIN {PLAIN}", "235 2.7.0")
MAIL = ("MAIL FROM:<a@own.example>", "250 2.1.0")
RCPT = ("RCPT TO:<b@example.net>", "250 2.1.5")
IN = [EHLO, AUTH]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


DIALOGUES: dict[str, list[tuple[str, str]]] = {
    # order (RFC 5321 §4.1.4)
    "mail before hello": [("MAIL FROM:<a@own.example>", "503 5.5.1")],
    "mail before auth": [EHLO, ("MAIL FROM:<a@own.example>", "530 5.7.0")],
    "mail before auth, after helo": [("HELO x", "250 mail"), ("MAIL FROM:<a@own.example>", "530 5.7.0")],
    "rcpt before mail": [*IN, ("RCPT TO:<b@example.net>", "503 5.5.1")],
    "data before mail": [*IN, ("DATA", "503 5.5.1")],
    "data before rcpt": [*IN, MAIL, ("DATA", "503 5.5.1")],
    "data after refused recipients only": [*IN, MAIL, ("RCPT TO:<b>", "501 5.1.3"), ("DATA", "503 5.5.1")],
    "data with an argument": [*IN, MAIL, RCPT, ("DATA x", "501 5.5.4"), ("DATA", "354 ")],
    "nested mail": [*IN, MAIL, ("MAIL FROM:<a@own.example>", "503 5.5.1")],
    "ehlo ends the transaction, not the login": [*IN, MAIL, RCPT, EHLO, ("DATA", "503 5.5.1"), MAIL],
    "rset ends the transaction": [*IN, MAIL, RCPT, ("RSET", "250 2.0.0"), ("DATA", "503 5.5.1"), MAIL],
    "rset with an argument": [*IN, ("RSET x", "501 5.5.4")],
    "a refused mail opens no transaction": [*IN, ("MAIL FROM:<a@evil.example>", "550 5.7.1"), MAIL, RCPT],
    # hello
    "ehlo without a name": [("EHLO", "501 5.5.4"), ("EHLO ", "501 5.5.4"), ("HELO", "501 5.5.4")],
    "ehlo with two names": [("EHLO a b", "501 5.5.4")],
    "ehlo with an endless name": [("EHLO " + "x" * 300, "501 5.5.4")],
    "commands in any case": [("eHlO x", "250-"), ("noop", "250 2.0.0"), ("Quit", "221 2.0.0")],
    # who may
    "relay without auth": [EHLO, ("MAIL FROM:<>", "530 5.7.0"), ("RCPT TO:<b@example.net>", "503 5.5.1")],
    "somebody else's reverse-path": [*IN, ("MAIL FROM:<a@evil.example>", "550 5.7.1")],
    "a subdomain is not one's own": [*IN, ("MAIL FROM:<a@sub.own.example>", "550 5.7.1")],
    "a null reverse-path": [*IN, ("MAIL FROM:<>", "250 2.1.0"), RCPT],
    "one's own domain in upper case": [*IN, ("MAIL FROM:<a@OWN.EXAMPLE>", "250 2.1.0")],
    "one's own domain as U-labels": [*IN, ("MAIL FROM:<a@bücher.example> SMTPUTF8", "250 2.1.0")],
    # relay attempts in old notations: whatever is taken, is mail for the domain behind the last @
    "source route": [*IN, MAIL, ("RCPT TO:<@own.example:b@example.net>", "501 5.1.3")],
    "bang path": [*IN, MAIL, ("RCPT TO:<example.net!b>", "501 5.1.3")],
    "no brackets": [*IN, ("MAIL FROM:a@own.example", "501 5.5.4")],
    "a blank before the path": [*IN, ("MAIL FROM: <a@own.example>", "501 5.5.4")],
    "empty recipient": [*IN, MAIL, ("RCPT TO:<>", "501 5.1.3")],
    "recipient without a domain": [*IN, MAIL, ("RCPT TO:<postmaster>", "501 5.1.3")],
    "address literal": [*IN, MAIL, ("RCPT TO:<b@[127.0.0.1]>", "501 5.1.3")],
    "single label": [*IN, MAIL, ("RCPT TO:<b@localhost>", "501 5.1.3")],
    "single label with a route": [*IN, MAIL, ("RCPT TO:<b@internal>", "250 2.1.5")],
    # parameters (RFC 5321 §4.1.1.11)
    "unknown parameter": [*IN, ("MAIL FROM:<a@own.example> X-EVIL=1", "555 5.5.4")],
    "repeated parameter": [*IN, ("MAIL FROM:<a@own.example> SIZE=1 SIZE=1", "501 5.5.4")],
    "too large at once": [*IN, ("MAIL FROM:<a@own.example> SIZE=25000001", "552 5.3.4"), MAIL],
    "line feed in xtext": [*IN, ("MAIL FROM:<a@own.example> ENVID=x+0Ay", "501 5.5.4")],
    "utf-8 without smtputf8": [*IN, ("MAIL FROM:<é@own.example>", "501 5.1.7")],
    "utf-8 recipient without smtputf8": [*IN, MAIL, ("RCPT TO:<é@example.net>", "501 5.1.3")],
    # octets in commands
    "control character": [("EHLO x\x01", "500 5.5.2")],
    "nul": [("EHLO x\0", "500 5.5.2")],
    "tab": [("EHLO\tx", "500 5.5.2")],
    "bare carriage return": [("EHLO x\rMAIL FROM:<>", "500 5.5.2")],
    "8-bit that is no utf-8": [("EHLO x\udcff", "500 5.5.2")],
    "empty line": [("", "500 5.5.2")],
    "line over 512 octets": [("NOOP " + "x" * 506, "500 5.5.2"), ("NOOP " + "x" * 505, "250 2.0.0")],
    "endless line": [("NOOP " + "x" * 100_000, "500 5.5.2"), ("NOOP", "250 2.0.0")],
    # the rest
    "vrfy": [("VRFY b", "252 2.5.2"), ("VRFY", "501 5.5.4")],
    "expn": [("EXPN list", "502 5.5.1")],
    "help": [("HELP", "214 2.0.0"), ("HELP MAIL", "214 2.0.0")],
    "unknown": [("XYZZY", "500 5.5.2"), ("_handle_client", "500 5.5.2")],
    "quit with an argument": [("QUIT now", "501 5.5.4"), ("QUIT", "221 2.0.0")],
    "starttls where there is none": [EHLO, ("STARTTLS", "502 5.5.1")],
    # AUTH (RFC 4954)
    "auth before ehlo": [(f"AUTH PLAIN {PLAIN}", "503 5.5.1"), ("HELO x", "250"), (f"AUTH PLAIN {PLAIN}", "503 5.5.1")],
    "auth twice": [*IN, (f"AUTH PLAIN {PLAIN}", "503 5.5.1")],
    "auth without a mechanism": [EHLO, ("AUTH", "501 5.5.4")],
    "auth with an unknown mechanism": [EHLO, ("AUTH CRAM-MD5", "504 5.5.4")],
    "auth in lower case": [EHLO, (f"auth plain {PLAIN}", "235 2.7.0")],
    "plain in two steps": [EHLO, ("AUTH PLAIN", "334 "), (PLAIN, "235 2.7.0")],
    "plain with an empty response": [EHLO, ("AUTH PLAIN =", "535 5.7.8")],
    "login": [
        EHLO,
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        (b64("shop"), "334 UGFzc3dvcmQ6"),
        (b64("correct horse"), "235"),
    ],
    "login with the name at once": [EHLO, (f"AUTH LOGIN {b64('shop')}", "334 UGFz"), (b64("correct horse"), "235")],
    "login with an empty name": [EHLO, ("AUTH LOGIN =", "334 UGFz"), (b64("correct horse"), "535 5.7.8")],
    "cancelled": [EHLO, ("AUTH LOGIN", "334"), ("*", "501 5.7.0"), AUTH],
    "cancelled at the second step": [EHLO, ("AUTH LOGIN", "334"), (b64("shop"), "334"), ("*", "501 5.7.0"), AUTH],
    "broken base64": [EHLO, ("AUTH PLAIN ####", "501 5.5.2"), ("AUTH LOGIN", "334"), ("c2hvcA", "501 5.5.2")],
    "blanks in base64": [EHLO, (f"AUTH PLAIN {PLAIN} {PLAIN}", "501 5.5.2")],
    "a control character in an answer": [EHLO, ("AUTH LOGIN", "334"), ("c2hv\0cA==", "500 5.5.2")],
    "nul in a password": [EHLO, (f"AUTH PLAIN {b64(chr(0) + 'shop' + chr(0) + 'a' + chr(0))}", "535 5.7.8")],
    "an answer that is too long": [EHLO, ("AUTH LOGIN", "334"), ("A" * 12_300, "500 5.5.6"), AUTH],
    "wrong password": [EHLO, (f"AUTH PLAIN {b64(chr(0) + 'shop' + chr(0) + 'x')}", "535 5.7.8"), AUTH],
    "unknown account": [EHLO, (f"AUTH PLAIN {b64(chr(0) + 'x' + chr(0) + 'x')}", "535 5.7.8")],
    "as somebody else": [EHLO, (f"AUTH PLAIN {b64('x' + chr(0) + 'shop' + chr(0) + 'correct horse')}", "535 5.7.8")],
    "auth in a transaction": [*IN, MAIL, (f"AUTH PLAIN {PLAIN}", "503 5.5.1"), RCPT],
}


@pytest.mark.parametrize("name", DIALOGUES)
async def test_each_command_hears_its_reply(house: House, name: str) -> None:
    async with await house.talk() as talk:
        for command, reply in DIALOGUES[name]:
            assert (await talk.ask(command)).startswith(reply), command
    assert house.messages == []


@pytest.mark.parametrize(
    ("kind", "encrypted", "offers"),
    [
        (Kind.PLAIN, False, ["AUTH PLAIN LOGIN"]),
        (Kind.STARTTLS, False, ["STARTTLS"]),
        (Kind.STARTTLS, True, ["AUTH PLAIN LOGIN"]),
        (Kind.TLS, False, ["AUTH PLAIN LOGIN"]),
    ],
)
async def test_what_is_offered_is_what_works(house: House, kind: Kind, encrypted: bool, offers: list[str]) -> None:
    async with await house.talk(kind) as talk:
        if encrypted:
            await talk.ask("EHLO x")
            await talk.ask("STARTTLS")
            await talk.writer.start_tls(house.client_context, server_hostname=HOSTNAME)
        lines = [line[4:] for line in (await talk.ask("EHLO x")).split("\n")]
    common = ["PIPELINING", "SIZE 25000000", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "DSN"]
    always = ["FUTURERELEASE 2592000 2026-12-22T12:00:00Z", "LIMITS RCPTMAX=1000"]
    assert lines == [HOSTNAME, *common, *offers, *always]


async def test_every_reply_but_greeting_and_hello_has_an_enhanced_code(house: House) -> None:
    async with await house.logged_in() as talk:
        replies = [await talk.ask(line) for line in ("NOOP", "RSET", "VRFY x", "HELP", "X", "MAIL", "DATA", "QUIT")]
    assert all(reply[3:6] == f" {reply[0]}." for reply in replies)


async def test_pipelined_commands_are_answered_in_order_in_one_go(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.send(
            b"MAIL FROM:<a@own.example>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<bad>\r\nDATA\r\n"
            + HEADER
            + b"\r\nbody\r\n.\r\nMAIL FROM:<x@evil.example>\r\nNOOP\r\nQUIT\r\n"
        )
        codes = [line[:3] for line in (await talk.rest()).decode().splitlines()]
    assert codes == ["250", "250", "501", "354", "250", "550", "250", "221"]
    assert house.octets().endswith(b"\r\n\r\nbody\r\n")


async def test_a_command_may_arrive_octet_by_octet(house: House) -> None:
    async with await house.talk() as talk:
        for octet in b"EHLO x\r\nQUIT\r\n":
            await talk.send(bytes([octet]))
            await asyncio.sleep(0)
        assert (await talk.rest()).endswith(b"221 2.0.0 Bye\r\n")


async def test_a_half_closed_client_still_hears_its_replies(house: House) -> None:
    async with await house.talk() as talk:
        await talk.send(b"EHLO x\r\nNOOP\r\nNO")
        talk.writer.write_eof()
        assert (await talk.rest()).endswith(b"250 2.0.0 Ok\r\n")


async def test_a_recipient_named_twice_gets_one_copy(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\n.\r\n", "b@example.net", "b@EXAMPLE.net", "B@example.net")
    assert len(house.store.memory.rows) == 2


async def test_recipients_over_the_limit_hear_452_and_the_others_get_their_mail(open_house: OpenHouse) -> None:
    async with open_house(max_recipients=2) as house, await house.logged_in() as talk:
        await talk.ask("MAIL FROM:<a@own.example>")
        replies = [await talk.ask(f"RCPT TO:<b{n}@example.net>") for n in range(3)]
        assert [reply[:9] for reply in replies] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]
        await talk.ask("DATA")
        assert (await talk.ask(HEADER.decode() + "\r\n.")).startswith("250 2.0.0")
        assert len(house.store.memory.rows) == 2


@pytest.mark.parametrize("verb", ["GET / HTTP/1.1", "POST / HTTP/1.1", "CONNECT x:25 HTTP/1.1"])
async def test_a_browser_is_shown_the_door(house: House, verb: str) -> None:
    async with await house.talk() as talk:
        await talk.send(f"{verb}\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<>\r\n".encode())
        assert await talk.rest() == b""


async def test_too_many_errors_end_the_session(open_house: OpenHouse) -> None:
    async with open_house(max_errors=3) as house, await house.talk() as talk:
        await talk.send(b"X\r\n" * 10)
        codes = [line[:9] for line in (await talk.rest()).decode().splitlines()]
        assert codes == ["500 5.5.2"] * 3 + ["421 4.7.0"]


async def test_refused_recipients_are_no_errors(open_house: OpenHouse) -> None:
    async with open_house(max_errors=3) as house, await house.logged_in() as talk:
        await talk.ask("MAIL FROM:<a@own.example>")
        for _ in range(10):
            assert (await talk.ask("RCPT TO:<bad>")).startswith("501")
        assert (await talk.ask("NOOP")).startswith("250")


async def test_a_few_wrong_passwords_end_the_session(house: House) -> None:
    async with await house.talk() as talk:
        await talk.ask("EHLO x")
        wrong = f"AUTH PLAIN {b64(chr(0) + 'shop' + chr(0) + 'x')}"
        assert [(await talk.ask(wrong))[:3] for _ in range(5)] == ["535"] * 5
        assert (await talk.hear()).startswith("421 4.7.0")


async def test_a_silent_client_hears_why_it_is_left(open_house: OpenHouse) -> None:
    async with open_house(idle_timeout=timedelta(milliseconds=50)) as house, await house.talk() as talk:
        assert await talk.rest() == b"421 4.4.2 Error: timeout exceeded\r\n"


async def test_a_client_that_is_silent_in_its_content_hears_it_too(open_house: OpenHouse) -> None:
    async with open_house(idle_timeout=timedelta(milliseconds=200)) as house, await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example>", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        await talk.send(HEADER)
        assert await talk.rest() == b"421 4.4.2 Error: timeout exceeded\r\n"
        assert house.messages == []


async def test_clients_over_the_limit_hear_421(open_house: OpenHouse) -> None:
    async with open_house(max_connections=1) as house:
        async with await house.talk() as first:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port())
            assert await reader.read() == b"421 4.7.0 Error: too many connections\r\n"
            writer.close()
            assert (await first.ask("QUIT")).startswith("221")
            await first.rest()
        async with await house.talk() as later:
            assert (await later.ask("NOOP")).startswith("250")


async def test_a_removed_account_may_not_go_on(house: House) -> None:
    async with await house.logged_in() as talk:
        house.authenticator.replace(Directory([]))
        assert (await talk.ask("MAIL FROM:<a@own.example>")).startswith("530 5.7.0")


async def test_a_domain_that_was_taken_away_is_gone_at_the_next_mail(house: House) -> None:
    async with await house.logged_in() as talk:
        house.authenticator.replace(Directory([Account("shop", frozenset({"other.example"}))]))
        assert (await talk.ask("MAIL FROM:<a@own.example>")).startswith("550 5.7.1")
        assert (await talk.ask("MAIL FROM:<a@other.example>")).startswith("250 2.1.0")


async def test_what_goes_wrong_inside_is_451_with_a_number_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with await house.logged_in() as talk:
        house.store.failure = cast(StoreUnavailable, ZeroDivisionError("secret inside"))
        reply = await talk.submit(HEADER + b"\r\n.\r\n")
        assert reply.startswith("451 4.3.0 Internal error")
        assert "secret inside" not in reply
        assert "ZeroDivisionError" in caplog.text
        assert reply.split()[4].rstrip(";") in caplog.text
        house.store.failure = None
        assert (await talk.submit(HEADER + b"\r\n.\r\n")).startswith("250 2.0.0")


async def test_no_credential_is_logged_at_any_level(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with await house.talk() as talk:
        await talk.ask("EHLO x")
        await talk.ask(f"AUTH PLAIN {b64(chr(0) + 'shop' + chr(0) + 'wrong-s3cr3t')}")
        await talk.ask("AUTH LOGIN")
        await talk.ask(b64("shop"))
        await talk.ask(b64("correct horse"))
        await talk.ask("QUIT")
    for secret in ("s3cr3t", "correct horse", b64("correct horse"), b64(chr(0) + "shop" + chr(0) + "wrong-s3cr3t")):
        assert secret not in caplog.text
