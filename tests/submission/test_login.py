"""AUTH over a real connection, by each mechanism: what is offered, what is answered, and what is never written down."""

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import trustme

from mta.accounts.account import Directory
from mta.accounts.scram import Verifier
from mta.smtp.settings import Kind
from mta.submission.auth import AuthSettings
from mta.submission.binding import BoundContext, end_point_of
from mta.submission.lockout import LockoutSettings
from tests.submission.conftest import HOSTNAME, PASSWORD, SHOP, House, OpenHouse, Talk
from tests.submission.scram_client import ScramClient

WRONG = "wrong-s3cr3t"
KNOWN = replace(SHOP, scram=Verifier.make(PASSWORD, b"sixteen octets.."))
END_POINT_HEADER = "p=tls-server-end-point,,"


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """A context that knows its certificate's channel binding, as the running server has it."""
    context = BoundContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue_cert(HOSTNAME, "127.0.0.1")
    issued.configure_cert(context)
    context.end_point = end_point_of(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()))
    return context


@pytest.fixture
async def house(open_house: OpenHouse) -> AsyncIterator[House]:
    async with open_house() as opened:
        opened.authenticator.replace(Directory([KNOWN]))
        yield opened


def b64(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def unb64(reply: str) -> bytes:
    assert reply.startswith("334 "), reply
    return base64.b64decode(reply[4:])


def end_point(talk: Talk) -> bytes:
    """Return what a client computes of the certificate it was shown."""
    tls: ssl.SSLObject = talk.writer.get_extra_info("ssl_object")
    shown = tls.getpeercert(binary_form=True)
    assert shown is not None
    found = end_point_of(shown)
    assert found is not None
    return found


async def greeted(house: House, kind: Kind) -> Talk:
    """Connect, and come under TLS where there is any."""
    talk = await house.talk(kind)
    await talk.ask("EHLO client.example.net")
    if kind is Kind.STARTTLS:
        await talk.ask("STARTTLS")
        await talk.writer.start_tls(house.client_context, server_hostname=HOSTNAME)
        await talk.ask("EHLO client.example.net")
    return talk


async def by_scram(talk: Talk, client: ScramClient, mechanism: str = "SCRAM-SHA-256") -> str:
    """Log in; return the last reply."""
    reply = await talk.ask(f"AUTH {mechanism} {b64(client.first())}")
    if reply.startswith("334"):
        reply = await talk.ask(b64(client.final(unb64(reply))))
    if reply.startswith("334"):
        assert client.believes(unb64(reply))
        reply = await talk.ask("")
    return reply


@pytest.mark.parametrize(
    ("kind", "offered"),
    [
        (Kind.PLAIN, "AUTH PLAIN LOGIN SCRAM-SHA-256"),
        (Kind.STARTTLS, "AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"),
        (Kind.TLS, "AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"),
    ],
)
async def test_binding_is_offered_where_there_is_a_certificate_to_bind_to(
    house: House, kind: Kind, offered: str
) -> None:
    async with await greeted(house, kind) as talk:
        assert offered in [line[4:] for line in (await talk.ask("EHLO x")).split("\n")]


@pytest.mark.parametrize("kind", [Kind.STARTTLS, Kind.TLS])
async def test_a_client_binds_itself_to_the_certificate_it_was_shown(house: House, kind: Kind) -> None:
    async with await greeted(house, kind) as talk:
        client = ScramClient("shop", PASSWORD, END_POINT_HEADER, end_point(talk))
        assert (await by_scram(talk, client, "scram-sha-256-plus")).startswith("235 2.7.0")
        assert (await talk.ask("MAIL FROM:<a@own.example>")).startswith("250")


async def test_a_client_behind_somebody_elses_certificate_is_refused(house: House) -> None:
    async with await greeted(house, Kind.TLS) as talk:
        client = ScramClient("shop", PASSWORD, END_POINT_HEADER, bytes(32))
        assert (await by_scram(talk, client, "SCRAM-SHA-256-PLUS")).startswith("535 5.7.8")


async def test_a_connection_stays_bound_to_its_certificate_when_that_is_replaced(
    house: House, server_context: ssl.SSLContext
) -> None:
    async with await greeted(house, Kind.TLS) as talk:
        other = BoundContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert(HOSTNAME).configure_cert(other)
        other.end_point = b"another"
        await house.server.replace_context(other)
        client = ScramClient("shop", PASSWORD, END_POINT_HEADER, end_point(talk))
        assert (await by_scram(talk, client, "SCRAM-SHA-256-PLUS")).startswith("235")


@pytest.mark.parametrize(
    ("kind", "header", "reply"),
    [
        (Kind.PLAIN, "n,,", "235 2.7.0"),
        (Kind.PLAIN, "y,,", "235 2.7.0"),
        (Kind.TLS, "n,,", "235 2.7.0"),
        (Kind.TLS, "y,,", "535 5.7.8"),
        (Kind.TLS, END_POINT_HEADER, "535 5.7.8"),
        (Kind.TLS, "n,,m=x,", "535 5.7.8"),
        (Kind.TLS, "n,a=other,", "535 5.7.8"),
    ],
)
async def test_what_a_client_says_of_binding_has_to_be_true(house: House, kind: Kind, header: str, reply: str) -> None:
    async with await greeted(house, kind) as talk:
        assert (await by_scram(talk, ScramClient("shop", PASSWORD, header))).startswith(reply)


async def test_the_operator_reads_that_a_client_wants_another_binding(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with await greeted(house, Kind.TLS) as talk:
        client = ScramClient("shop", PASSWORD, "p=tls-exporter,,", bytes(32))
        assert (await by_scram(talk, client, "SCRAM-SHA-256-PLUS")).startswith("535 5.7.8")
        assert "another channel binding than tls-server-end-point" in caplog.text
        await talk.ask(f"AUTH PLAIN {b64('x')}")
        assert "what it sent is not what its mechanism sends" in caplog.text


async def test_scram_may_begin_without_an_initial_response(house: House) -> None:
    async with await greeted(house, Kind.PLAIN) as talk:
        client = ScramClient("shop/bulk", PASSWORD)
        assert await talk.ask("AUTH SCRAM-SHA-256") == "334 "
        reply = await talk.ask(b64(client.first()))
        reply = await talk.ask(b64(client.final(unb64(reply))))
        assert client.believes(unb64(reply))
        assert (await talk.ask("")).startswith("235")


@pytest.mark.parametrize(
    ("dialogue", "reply"),
    [
        (["AUTH SCRAM-SHA-256 ="], "535 5.7.8"),
        (["AUTH SCRAM-SHA-256 !!"], "501 5.5.2"),
        (["AUTH SCRAM-SHA-256", "*"], "501 5.7.0"),
        (["AUTH SCRAM-SHA-256", b64("n,,n=shop,r=x"), "*"], "501 5.7.0"),
        (["AUTH SCRAM-SHA-256", b64("n,,n=shop,r=x"), "!!"], "501 5.5.2"),
        (["AUTH SCRAM-SHA-256", b64("n,,n=shop,r=x"), ""], "535 5.7.8"),
        (["AUTH SCRAM-SHA-256", b64("n,,n=shop,r=x"), "A" * 12_300], "500 5.5.6"),
        (["AUTH SCRAM-SHA-256-PLUS"], "504 5.5.4"),
        (["AUTH SCRAM-SHA-1"], "504 5.5.4"),
    ],
    ids=str,
)
async def test_a_scram_that_goes_wrong_hears_why_and_may_try_again(
    house: House, dialogue: list[str], reply: str
) -> None:
    async with await greeted(house, Kind.PLAIN) as talk:
        for line in dialogue:
            said = await talk.ask(line)
        assert said.startswith(reply)
        assert (await by_scram(talk, ScramClient("shop", PASSWORD))).startswith("235")


async def test_a_client_that_leaves_before_its_last_empty_answer_is_not_logged_in(house: House) -> None:
    async with await greeted(house, Kind.PLAIN) as talk:
        client = ScramClient("shop", PASSWORD)
        reply = await talk.ask(f"AUTH SCRAM-SHA-256 {b64(client.first())}")
        assert client.believes(unb64(await talk.ask(b64(client.final(unb64(reply))))))
        assert (await talk.ask("*")).startswith("501 5.7.0")
        assert (await talk.ask("MAIL FROM:<a@own.example>")).startswith("530")


async def test_a_locked_client_hears_454_by_each_mechanism_and_is_shown_the_door(house: House) -> None:
    house.authenticator.replace_settings(AuthSettings(lockout=LockoutSettings(attempts=1)))
    async with await greeted(house, Kind.PLAIN) as talk:
        assert (await by_scram(talk, ScramClient("shop", WRONG))).startswith("535")
        assert (await by_scram(talk, ScramClient("shop", PASSWORD))).startswith("454 4.7.0")
        assert (await talk.ask(f"AUTH PLAIN {b64(f'{chr(0)}shop{chr(0)}{PASSWORD}')}")).startswith("454 4.7.0")
        await talk.ask("AUTH LOGIN")
        await talk.ask(b64("shop"))
        assert (await talk.ask(b64(PASSWORD))).startswith("454 4.7.0")
        assert (await talk.ask(f"AUTH PLAIN {b64('x')}")).startswith("454 4.7.0")
        assert (await talk.hear()).startswith("421 4.7.0")


async def test_failed_logins_are_counted_by_each_mechanism(house: House) -> None:
    async with await greeted(house, Kind.PLAIN) as talk:
        await by_scram(talk, ScramClient("shop", WRONG))
        await talk.ask(f"AUTH PLAIN {b64(f'{chr(0)}shop{chr(0)}{WRONG}')}")
        await by_scram(talk, ScramClient("shop", PASSWORD))
    assert house.counts.rejections == [("auth", "submission")] * 2


async def test_a_refusal_is_not_kept_back_for_who_has_gone(open_house: OpenHouse) -> None:
    async with open_house() as house:
        house.authenticator.replace_settings(AuthSettings(lockout=LockoutSettings(delay_max=timedelta(hours=1))))
        wrong = f"AUTH PLAIN {b64(f'{chr(0)}shop{chr(0)}{WRONG}')}"
        for _ in range(8):
            # from the second on they are kept back longer each time: a second, two, four, and so on
            # (in clear, one that is half closed may still listen)
            async with await greeted(house, Kind.TLS) as talk:
                await talk.send(f"{wrong}\r\n".encode())
        await house.emptied()


async def test_a_server_that_stops_keeps_no_refusal_back(open_house: OpenHouse) -> None:
    async with open_house() as house:
        house.authenticator.replace_settings(AuthSettings(lockout=LockoutSettings(delay_max=timedelta(hours=1))))
        wrong = f"AUTH PLAIN {b64(f'{chr(0)}shop{chr(0)}{WRONG}')}"
        talks = [await greeted(house, Kind.PLAIN) for _ in range(9)]
        for talk in talks:
            await talk.send(f"{wrong}\r\n".encode())
        async with asyncio.timeout(30):
            while house.authenticator.kept_back < 8:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0.001)
            await house.server.stop()
        assert b"535 5.7.8" in await talks[-1].rest()
        for talk in talks:
            talk.writer.close()


async def test_nothing_of_a_credential_is_logged_at_any_level(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """By every logger there is, of the house and of its libraries, while logins succeed, fail and break off."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    levels = [logger.level for logger in loggers]
    asyncio.get_running_loop().set_debug(True)
    said: list[str] = []
    try:
        for logger in loggers:
            logger.setLevel(1)
        caplog.handler.setLevel(1)
        for kind in (Kind.PLAIN, Kind.TLS):
            for password in (PASSWORD, WRONG):
                said += await every_way(house, kind, password)
    finally:
        asyncio.get_running_loop().set_debug(False)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    text = caplog.text
    assert "refused: account 'shop': the password is wrong" in text
    secrets = [PASSWORD, WRONG, "s3cr3t", KNOWN.password_hash or "?", KNOWN.scram.dump() if KNOWN.scram else "?"]
    for secret in [*secrets, *map(b64, secrets), *said]:
        assert secret not in text, secret
        # however it was aligned when it was encoded
        for start in range(3):
            assert b64(b"\0" * start + secret.encode("utf-8", "surrogateescape"))[4:-4] not in text or len(secret) < 8


async def every_way(house: House, kind: Kind, password: str) -> list[str]:
    """Try a password by every mechanism; return all that was said as arguments and answers."""
    said: list[str] = []

    async def say(talk: Talk, line: str) -> str:
        answer = line.rpartition(" ")[2]
        if len(answer) >= 16:
            said.append(answer)
        return await talk.ask(line)

    house.authenticator.replace_settings(AuthSettings(lockout=LockoutSettings(delay_max=timedelta())))
    plain = b64(f"\0shop\0{password}")
    for lines in (
        [f"AUTH PLAIN {plain}"],
        ["AUTH PLAIN", plain],
        ["AUTH LOGIN", b64("shop"), b64(password)],
        [f"AUTH PLAIN {plain[:-1]}!"],
        [f"AUTH {plain}"],
        [f"AUTH XOAUTH2 {plain}"],
        ["AUTH LOGIN", b64(password), b64("shop")],
        ["AUTH PLAIN", plain + "\udcff"],
        [f"AUTH PLAIN {plain} {plain}"],
    ):
        async with await greeted(house, kind) as talk:
            for line in lines:
                await say(talk, line)
    async with await greeted(house, kind) as talk:
        client = ScramClient("shop", password)
        reply = await say(talk, f"AUTH SCRAM-SHA-256 {b64(client.first())}")
        reply = await say(talk, b64(client.final(unb64(reply))))
        if reply.startswith("334"):
            await talk.ask("")
    async with await greeted(house, kind) as talk:
        await talk.send(f"AUTH PLAIN\r\n{plain}\r\nQUIT\r\n".encode())
        await talk.rest()
    async with await greeted(house, kind) as talk:
        await talk.send(f"AUTH PLAIN\r\n{plain}".encode())
        talk.writer.close()
    return said
