"""Dialogues over a raw socket: each line is a command and how its reply begins."""

import asyncio
from datetime import timedelta

import pytest

from mta.inbound.connection import InboundConnection
from mta.inbound.rules import Desk, Feedback, Letter, ReturnPath
from mta.mail.token import Keyring, ReturnPaths
from tests.fakes.clock import START
from tests.inbound.conftest import DELIVERY, DOMAIN, House, OpenHouse
from tests.smtp.certificates import HOSTNAME

TOKEN = ReturnPaths(Keyring.new(bytes(32), START)).make(DELIVERY)
FORGED = ReturnPaths(Keyring.new(b"\2" * 32, START)).make(DELIVERY)
EHLO = ("EHLO mx.example.net", "250-mail.own.example")
MAIL = ("MAIL FROM:<>", "250 2.1.0")
RCPT = (f"RCPT TO:<{TOKEN}@{DOMAIN}>", "250 2.1.5")

DIALOGUES: dict[str, list[tuple[str, str]]] = {
    # recipients
    "our return path": [EHLO, MAIL, RCPT],
    "in upper case": [EHLO, MAIL, (f"RCPT TO:<{TOKEN.upper()}@{DOMAIN.upper()}>", "250 2.1.5")],
    "forged": [EHLO, MAIL, (f"RCPT TO:<{FORGED}@{DOMAIN}>", "550 5.1.1"), RCPT],
    "cut": [EHLO, MAIL, (f"RCPT TO:<{TOKEN[:38]}@{DOMAIN}>", "550 5.1.1")],
    "replayed": [EHLO, MAIL, RCPT, ("RSET", "250"), MAIL, RCPT],
    "feedback": [EHLO, MAIL, (f"RCPT TO:<FBL@{DOMAIN}>", "250 2.1.5")],
    "bare postmaster": [EHLO, MAIL, ("RCPT TO:<postmaster>", "250 2.1.5"), ("RCPT TO:<PostMaster>", "250 2.1.5")],
    "abuse": [EHLO, MAIL, (f"RCPT TO:<abuse@{DOMAIN}>", "250 2.1.5")],
    "nobody": [EHLO, MAIL, (f"RCPT TO:<info@{DOMAIN}>", "550 5.1.1"), ("DATA", "503 5.5.1")],
    "elsewhere": [EHLO, MAIL, ("RCPT TO:<b@example.net>", "550 5.7.1 Relay access denied"), ("DATA", "503 5.5.1")],
    "elsewhere, from an own domain": [
        EHLO,
        ("MAIL FROM:<a@own.example>", "250"),
        ("RCPT TO:<b@own.example>", "550 5.7.1"),
    ],
    "percent hack": [EHLO, MAIL, (f"RCPT TO:<b%example.net@{DOMAIN}>", "550 5.1.1")],
    "source route": [EHLO, MAIL, (f"RCPT TO:<@{DOMAIN}:b@example.net>", "501 5.1.3")],
    # order
    "mail before hello": [("MAIL FROM:<>", "503 5.5.1")],
    "after helo": [("HELO x", "250 mail.own.example"), MAIL, RCPT],
    "nested mail": [EHLO, MAIL, ("MAIL FROM:<>", "503 5.5.1")],
    "rcpt before mail": [EHLO, ("RCPT TO:<postmaster>", "503 5.5.1")],
    "data before rcpt": [EHLO, MAIL, ("DATA", "503 5.5.1")],
    "ehlo ends the transaction": [EHLO, MAIL, RCPT, EHLO, ("DATA", "503 5.5.1")],
    # senders and parameters
    "any sender": [EHLO, ("MAIL FROM:<root@[192.0.2.1]>", "250"), RCPT, ("RSET", "250"), ("MAIL FROM: <x>", "250")],
    "size": [EHLO, ("MAIL FROM:<> SIZE=35000001", "552 5.3.4"), ("MAIL FROM:<> SIZE=35000000 BODY=8BITMIME", "250")],
    "smtputf8": [EHLO, ("MAIL FROM:<é@example.net> SMTPUTF8", "250"), (f"RCPT TO:<é@{DOMAIN}>", "550 5.1.1")],
    "dsn": [EHLO, ("MAIL FROM:<> RET=HDRS", "555 5.5.4"), MAIL, ("RCPT TO:<postmaster> NOTIFY=NEVER", "555 5.5.4")],
    # nobody logs in
    "auth": [EHLO, ("AUTH PLAIN AHNob3AAY29ycmVjdCBob3JzZQ==", "502 5.5.1"), ("AUTH LOGIN", "502 5.5.1"), MAIL],
    # the rest
    "others": [("VRFY b", "252"), ("EXPN x", "502"), ("HELP", "214"), ("NOOP", "250"), ("BDAT 1", "500"), ("X", "500")],
    "nul": [("EHLO x\0", "500 5.5.2"), ("EHLO x\udcff", "500 5.5.2"), ("QUIT", "221 2.0.0")],
    "long": [("NOOP " + "x" * 2000, "500 5.5.2"), (f"MAIL FROM:<{'x' * 500}>", "503 5.5.1"), ("NOOP", "250")],
}


@pytest.mark.parametrize("name", DIALOGUES)
async def test_each_command_hears_its_reply(house: House, name: str) -> None:
    async with await house.talk() as talk:
        for command, reply in DIALOGUES[name]:
            assert (await talk.ask(command)).startswith(reply), command
    assert house.desk.received == []


async def test_what_is_offered_is_what_works_and_auth_is_not(house: House) -> None:
    common = [HOSTNAME, "PIPELINING", "SIZE 35000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
    async with await house.talk() as talk:
        assert [line[4:] for line in (await talk.ask("EHLO x")).split("\n")] == [*common, "STARTTLS"]
        assert await talk.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
        await talk.writer.start_tls(house.client_context, server_hostname=HOSTNAME)
        assert (await talk.ask("MAIL FROM:<>")).startswith("503 5.5.1")
        assert [line[4:] for line in (await talk.ask("EHLO x")).split("\n")] == common
        assert (await talk.ask("AUTH PLAIN AGEAYg==")).startswith("502 5.5.1")
        assert (await house.bring(talk, b"x\r\n.\r\n")).startswith("250 2.0.0")
    assert house.desk.received[0].client.tls_version == "TLSv1.3"
    assert house.counts.tls == [("inbound", "TLSv1.3")]


async def test_commands_behind_starttls_are_not_taken(house: House) -> None:
    async with await house.greeted() as talk:
        await talk.send(b"STARTTLS\r\nMAIL FROM:<>\r\n")
        assert await talk.rest() == b"554 5.5.1 Error: commands pipelined after STARTTLS\r\n"


async def test_several_recipients_are_brought_once_each_in_order(house: House) -> None:
    other = house.return_paths.make("02abcdefghjkmnpq")
    async with await house.greeted() as talk:
        recipients = [
            house.return_path,
            f"{other}@b.other.example",
            house.return_path.upper(),
            "postmaster",
            f"Postmaster@{DOMAIN}",
            f"abuse@{DOMAIN}",
            f"fbl@{DOMAIN}",
        ]
        assert (await house.bring(talk, b"Subject: x\r\n\r\n.\r\n", *recipients)).startswith("250")
    (received,) = house.desk.received
    assert received.addressees == (
        ReturnPath(DELIVERY),
        ReturnPath("02abcdefghjkmnpq"),
        Letter(Desk.POSTMASTER),
        Letter(Desk.ABUSE),
        Feedback(),
    )


async def test_refused_recipients_do_not_keep_the_others_from_hearing(house: House) -> None:
    async with await house.greeted() as talk:
        await talk.send(
            f"MAIL FROM:<>\r\nRCPT TO:<{FORGED}@{DOMAIN}>\r\nRCPT TO:<{house.return_path}>\r\nDATA\r\n".encode()
            + b"Subject: x\r\n\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n"
        )
        codes = [line[:3] for line in (await talk.rest()).decode().splitlines()]
    assert codes == ["250", "550", "250", "354", "250", "250", "221"]
    assert [received.addressees for received in house.desk.received] == [(ReturnPath(DELIVERY),)]


async def test_recipients_over_the_limit_hear_452(open_house: OpenHouse) -> None:
    async with open_house(max_recipients=1) as house, await house.greeted() as talk:
        await talk.ask("MAIL FROM:<>")
        replies = [await talk.ask(f"RCPT TO:<{one}>") for one in (house.return_path, "postmaster", house.return_path)]
        assert [reply[:9] for reply in replies] == ["250 2.1.5", "452 4.5.3", "250 2.1.5"]


async def test_whoever_tries_name_after_name_is_left(open_house: OpenHouse) -> None:
    async with open_house(max_errors=3) as house, await house.greeted() as talk:
        await talk.ask("MAIL FROM:<>")
        await talk.send(b"".join(b"RCPT TO:<u%d@bounces.own.example>\r\n" % n for n in range(10)))
        codes = [line[:9] for line in (await talk.rest()).decode().splitlines()]
        assert codes == ["550 5.1.1"] * 3 + ["421 4.7.0"]
    assert house.counts.rejections == [("recipient", "inbound")] * 3 + [("errors", "inbound")]


async def test_one_address_does_not_take_all_the_room(open_house: OpenHouse) -> None:
    async with open_house(max_connections_per_address=2) as house:
        async with await house.talk(), await house.talk() as second:
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            assert await reader.read() == b"421 4.7.0 Error: too many connections\r\n"
            writer.close()
            other = await asyncio.open_connection("127.0.0.1", house.port, local_addr=("127.0.0.2", 0))
            assert (await other[0].readline()).startswith(b"220 ")
            other[1].close()
            await second.ask("QUIT")
            await second.rest()
            async with await house.talk() as third:
                assert (await third.ask("NOOP")).startswith("250")
        await house.emptied()
        assert house.counts.open == {"inbound": 0}
        assert ("connections", "inbound") in house.counts.rejections
    assert InboundConnection.role == "inbound"


async def test_clients_over_the_limit_hear_421(open_house: OpenHouse) -> None:
    async with open_house(max_connections=1) as house, await house.talk():
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        assert await reader.read() == b"421 4.7.0 Error: too many connections\r\n"
        writer.close()


async def test_a_silent_client_hears_why_it_is_left(open_house: OpenHouse) -> None:
    async with open_house(idle_timeout=timedelta(milliseconds=50)) as house, await house.talk() as talk:
        assert await talk.rest() == b"421 4.4.2 Error: timeout exceeded\r\n"


async def test_a_content_that_drips_for_ever_is_cut(open_house: OpenHouse) -> None:
    async with open_house(content_timeout=timedelta(milliseconds=300)) as house, await house.greeted() as talk:
        for command in ("MAIL FROM:<>", f"RCPT TO:<{house.return_path}>", "DATA"):
            await talk.ask(command)

        async def drip() -> None:
            while True:
                await talk.send(b"x")
                await asyncio.sleep(0.01)

        # whoever is still talking may miss what was said last
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(drip(), 15)
        await house.emptied()
        assert house.desk.received == []


async def test_a_browser_is_shown_the_door(house: House) -> None:
    async with await house.talk() as talk:
        await talk.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n")
        assert await talk.rest() == b""
