"""Clients of a trusted network send without AUTH, as one account and under all its rules."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from mta.accounts.account import Directory
from mta.smtp.settings import Kind
from mta.submission.auth import AuthSettings
from tests.submission.conftest import HEADER, PLAIN, SHOP, House, Talk

MAIL = "MAIL FROM:<a@own.example>"
NEAR, FAR = ip_network("127.0.0.0/8"), ip_network("192.0.2.0/24")


@pytest.fixture
def trusting(house: House) -> House:
    """A listener that trusts this machine."""
    house.authenticator.replace_settings(AuthSettings(trusted_networks=(FAR, NEAR), trusted_account="shop/bulk"))
    return house


async def submit(talk: Talk, hello: str, parameters: str = "") -> None:
    await talk.ask(hello)
    assert (await talk.submit(HEADER + b"\r\n.\r\n", parameters=parameters)).startswith("250")


@pytest.mark.parametrize(
    ("kind", "hello", "parameters", "protocol"),
    [
        (Kind.PLAIN, "HELO x.example", "", b"SMTP"),
        (Kind.PLAIN, "EHLO x.example", "", b"ESMTP"),
        (Kind.PLAIN, "EHLO x.example", " SMTPUTF8", b"UTF8SMTP"),
        (Kind.TLS, "HELO x.example", "", b"SMTP"),
        (Kind.TLS, "EHLO x.example", "", b"ESMTPS"),
        (Kind.TLS, "EHLO x.example", " SMTPUTF8", b"UTF8SMTPS"),
    ],
)
async def test_who_is_trusted_sends_as_the_account_and_the_trace_says_how(
    trusting: House, kind: Kind, hello: str, parameters: str, protocol: bytes
) -> None:
    async with await trusting.talk(kind) as talk:
        await submit(talk, hello, parameters)
    assert [(one.account, one.stream) for one in trusting.messages] == [("shop", "bulk")]
    assert b" with " + protocol + b" id " in trusting.octets()


@pytest.mark.parametrize(
    ("kind", "parameters", "protocol"),
    [
        (Kind.PLAIN, "", b"ESMTPA"),
        (Kind.PLAIN, " SMTPUTF8", b"UTF8SMTPA"),
        (Kind.TLS, "", b"ESMTPSA"),
        (Kind.TLS, " SMTPUTF8", b"UTF8SMTPSA"),
    ],
)
async def test_who_logs_in_all_the_same_is_who_it_proves_to_be(
    trusting: House, kind: Kind, parameters: str, protocol: bytes
) -> None:
    async with await trusting.talk(kind) as talk:
        await talk.ask("EHLO x.example")
        assert (await talk.ask(f"AUTH PLAIN {PLAIN}")).startswith("235")
        assert (await talk.submit(HEADER + b"\r\n.\r\n", parameters=parameters)).startswith("250")
    assert [(one.account, one.stream) for one in trusting.messages] == [("shop", "transactional")]
    assert b" with " + protocol + b" id " in trusting.octets()


@pytest.mark.parametrize(
    "settings",
    [
        AuthSettings(),
        AuthSettings(trusted_networks=(FAR,), trusted_account="shop"),
        AuthSettings(trusted_networks=(NEAR,)),
        AuthSettings(trusted_networks=(NEAR,), trusted_account="gone"),
    ],
)
async def test_others_must_log_in(house: House, settings: AuthSettings) -> None:
    house.authenticator.replace_settings(settings)
    async with await house.talk() as talk:
        await talk.ask("EHLO x")
        assert (await talk.ask(MAIL)).startswith("530 5.7.0")


async def test_trust_is_not_asked_before_hello(trusting: House) -> None:
    async with await trusting.talk() as talk:
        assert (await talk.ask(MAIL)).startswith("503 5.5.1")


async def test_trust_ends_when_the_operator_ends_it(trusting: House) -> None:
    async with await trusting.talk() as talk:
        await submit(talk, "EHLO x")
        trusting.authenticator.replace_settings(AuthSettings())
        assert (await talk.ask(MAIL)).startswith("530 5.7.0")


async def test_who_is_trusted_keeps_the_accounts_rules(trusting: House) -> None:
    async with await trusting.talk() as talk:
        await talk.ask("EHLO x")
        assert (await talk.ask("MAIL FROM:<a@evil.example>")).startswith("550 5.7.1")
        assert (await talk.submit(b"From: x@evil.example\r\n\r\n.\r\n")).startswith("550 5.7.1")
        trusting.gate.suspend()
        assert (await talk.ask(MAIL)).startswith("550 5.7.1 Account shop is suspended")


async def test_trusted_connections_count_as_the_accounts(trusting: House) -> None:
    trusting.authenticator.replace(Directory([replace(SHOP, max_connections=1)]))
    async with await trusting.talk() as one, await trusting.talk() as two:
        for talk in (one, two):
            await talk.ask("EHLO x")
        assert (await one.ask(MAIL)).startswith("250")
        assert (await two.ask(MAIL)).startswith("421 4.7.0 Error: account shop has 1 connections")
        assert await two.rest() == b""
        await one.ask("RSET")
        assert (await one.ask(MAIL)).startswith("250")
