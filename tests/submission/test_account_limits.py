"""What an account may do beyond what the listener lets everybody do: sizes, recipients, rates, pools; and not twice."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mta.accounts.account import Directory, Rate
from mta.errors import StoreUnavailable
from mta.queue.model import State
from mta.submission.acceptor import AcceptorSettings
from tests.submission.conftest import HEADER, HOSTNAME, PASSWORD, SHOP, House, OpenHouse, Talk

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WINDOW = timedelta(minutes=10)
MAIL = "MAIL FROM:<a@own.example>"
USED_UP = "451 4.7.1 Account shop has used up its rate of 3 recipients per hour; try again "


def limit(house: House, **limits: Any) -> None:
    """Let other limits hold for the shop from now on."""
    house.authenticator.replace(Directory([replace(SHOP, **limits)]))


def settle(house: House, **settings: Any) -> None:
    """Let other settings hold for all accounts."""
    house.acceptor.replace(AcceptorSettings(HOSTNAME, lambda domain: domain, **settings))


@pytest.fixture
async def talk(house: House) -> AsyncIterator[Talk]:
    async with await house.logged_in() as talk:
        yield talk


# --- size and recipients


@pytest.mark.parametrize(("own", "holds"), [(None, 5000), (1000, 1000), (9000, 5000)])
async def test_the_smaller_limit_holds_and_is_announced_after_auth(
    open_house: OpenHouse, own: int | None, holds: int
) -> None:
    async with open_house(max_message_size=5000, max_recipients=5000) as house, await house.talk() as talk:
        limit(house, max_message_size=own, max_recipients=own)
        before = (await talk.ask("EHLO x")).split("\n")
        assert {"250-SIZE 5000", "250 LIMITS RCPTMAX=5000"} <= set(before)
        credential = house.one_use.issue("shop")
        await talk.log_in(credential.login, credential.secret)
        after = (await talk.ask("EHLO x")).split("\n")
        assert {f"250-SIZE {holds}", f"250 LIMITS RCPTMAX={holds}"} <= set(after)
        assert (await talk.ask(f"{MAIL} SIZE={holds + 1}")).startswith("552 5.3.4")
        assert (await talk.ask(f"{MAIL} SIZE={holds}")).startswith("250")


async def test_a_content_over_the_accounts_limit_is_refused_at_the_dot(house: House, talk: Talk) -> None:
    limit(house, max_message_size=200)
    assert (await talk.submit(HEADER + b"\r\n" + b"x" * 200 + b"\r\n.\r\n")).startswith("552 5.3.4")
    assert (await talk.submit(HEADER + b"\r\nx\r\n.\r\n")).startswith("250")


async def test_a_message_has_the_limits_that_stood_at_its_mail(house: House, talk: Talk) -> None:
    limit(house, max_recipients=2)
    await talk.ask(MAIL)
    limit(house, max_recipients=1)
    replies = [await talk.ask(f"RCPT TO:<b{n}@example.net>") for n in range(3)]
    assert [reply[:9] for reply in replies] == ["250 2.1.5", "250 2.1.5", "452 4.5.3"]


# --- rates


async def test_a_rate_runs_out_at_rcpt_then_at_mail_and_comes_back(house: House, talk: Talk) -> None:
    limit(house, rate=Rate(3, HOUR))
    assert (await talk.submit(HEADER + b"\r\n.\r\n", "a@example.net", "b@example.net")).startswith("250")
    assert (await talk.ask(MAIL)).startswith("250")
    assert (await talk.ask("RCPT TO:<c@example.net>")).startswith("250")
    assert await talk.ask("RCPT TO:<d@example.net>") == USED_UP + "later"
    # one that is there already takes no more
    assert (await talk.ask("RCPT TO:<c@example.net>")).startswith("250")
    await talk.ask("DATA")
    assert (await talk.ask(HEADER.decode() + "\r\n.")).startswith("250")
    assert await talk.ask(MAIL) == USED_UP + "later"
    assert (await talk.ask("RCPT TO:<d@example.net>")).startswith("503 5.5.1")
    house.clock.advance(2 * HOUR)
    assert (await talk.ask(MAIL)).startswith("250")
    assert len(house.store.memory.rows) == 3


async def test_the_last_word_on_a_rate_is_spoken_at_the_dot(house: House, talk: Talk) -> None:
    limit(house, rate=Rate(3, HOUR))
    for command in (MAIL, "RCPT TO:<a@example.net>", "RCPT TO:<b@example.net>", "DATA"):
        await talk.ask(command)
    async with await house.logged_in() as other:
        assert (await other.submit(HEADER + b"\r\n.\r\n", "c@example.net", "d@example.net")).startswith("250")
    assert (await talk.ask(HEADER.decode() + "\r\n.")).startswith(USED_UP + "after 2026-11-22T13:")
    assert (len(house.messages), len(house.watcher.events)) == (1, 1)


async def test_held_mail_counts_at_its_release(house: House, talk: Talk) -> None:
    limit(house, rate=Rate(3, HOUR))
    three = ("a@example.net", "b@example.net", "c@example.net")
    assert (await talk.submit(HEADER + b"\r\n.\r\n", *three)).startswith("250")
    assert (await talk.submit(HEADER + b"\r\n.\r\n", *three, parameters=" HOLDFOR=86400")).startswith("250")
    assert await talk.submit(HEADER + b"\r\n.\r\n", "d@example.net", parameters=" HOLDFOR=86400") == USED_UP + "later"


async def test_a_rate_that_cannot_be_looked_up_is_451(house: House, talk: Talk) -> None:
    limit(house, rate=Rate(3, HOUR))
    house.store.failure = StoreUnavailable("locked")
    assert (await talk.ask(MAIL)).startswith("451 4.3.0")
    house.store.failure = None
    assert (await talk.ask(MAIL)).startswith("250")


@pytest.mark.parametrize(("own", "most"), [(None, 2), (1, 1)])
async def test_first_time_recipients_run_out_and_nothing_is_accepted(
    house: House, talk: Talk, own: int | None, most: int
) -> None:
    settle(house, first_time_recipients_per_day=2)
    limit(house, first_time_recipients_per_day=own)
    known = [f"b{n}@example.net" for n in range(most)]
    assert (await talk.submit(HEADER + b"\r\n.\r\n", *known)).startswith("250")
    reply = await talk.submit(HEADER + b"\r\n.\r\n", *known, "new@example.net")
    assert reply.startswith(f"451 4.7.1 Account shop has used up its {most} first-time recipients a day; nothing was")
    assert len(house.messages) == len(house.watcher.events) == 1
    assert (await talk.submit(HEADER + b"\r\n.\r\n", *known)).startswith("250")


async def test_an_account_without_a_limit_of_its_own_may_be_let_off(house: House, talk: Talk) -> None:
    settle(house, first_time_recipients_per_day=1)
    limit(house, first_time_recipients_per_day=0)
    assert (await talk.submit(HEADER + b"\r\n.\r\n", "a@example.net", "b@example.net")).startswith("250")


# --- the same message again


async def test_a_message_that_comes_again_is_answered_as_before_and_not_queued_again(house: House, talk: Talk) -> None:
    settle(house, duplicate_window=WINDOW)
    first = await talk.submit(HEADER + b"\r\nbody\r\n.\r\n")
    async with await house.logged_in() as again:
        assert await again.submit(HEADER + b"\r\nbody\r\n.\r\n") == first
    assert len(house.messages) == len(house.watcher.events) == len(house.store.memory.rows) == 1


async def test_recipients_that_are_new_to_a_message_get_it(house: House, talk: Talk) -> None:
    settle(house, duplicate_window=WINDOW)
    first = await talk.submit(HEADER + b"\r\nbody\r\n.\r\n", "b@example.net")
    assert await talk.submit(HEADER + b"\r\nbody\r\n.\r\n", "b@example.net", "c@example.net") == first
    rows = house.store.memory.rows.values()
    assert sorted(str(row.delivery.recipient.mailbox) for row in rows) == ["b@example.net", "c@example.net"]
    assert [event.detail["recipients"] for event in house.watcher.events] == [1, 1]


@pytest.mark.parametrize(
    ("window", "mail", "content"),
    [
        (timedelta(), MAIL, HEADER + b"\r\nbody\r\n"),
        (WINDOW, "MAIL FROM:<b@own.example>", HEADER + b"\r\nbody\r\n"),
        (WINDOW, "MAIL FROM:<>", HEADER + b"\r\nbody\r\n"),
        (WINDOW, MAIL, HEADER + b"\r\nbody \r\n"),
        (WINDOW, MAIL, b"X-MTA-Tag: x\r\n" + HEADER + b"\r\nbody\r\n"),
        (WINDOW, MAIL, HEADER.replace(b"<1@", b"<2@") + b"\r\nbody\r\n"),
    ],
    ids=["no window", "reverse-path", "null reverse-path", "octets", "control fields", "message-id"],
)
async def test_what_differs_is_another_message(
    house: House, talk: Talk, window: timedelta, mail: str, content: bytes
) -> None:
    settle(house, duplicate_window=window)
    first = await talk.submit(HEADER + b"\r\nbody\r\n.\r\n")
    for command in (mail, "RCPT TO:<b@example.net>", "DATA"):
        await talk.ask(command)
    await talk.send(content + b".\r\n")
    assert (await talk.hear()) not in ("", first)
    assert len(house.messages) == 2


@pytest.mark.parametrize("field", [b"", b"Message-ID:\r\n", b"Message-ID: \r\n"])
async def test_a_message_without_a_name_is_never_the_same_as_another(house: House, talk: Talk, field: bytes) -> None:
    settle(house, duplicate_window=WINDOW)
    content = b"From: a@own.example\r\n" + field + b"\r\nbody\r\n.\r\n"
    assert await talk.submit(content) != await talk.submit(content)
    assert len(house.messages) == 2


async def test_a_message_is_forgotten_after_the_window(house: House, talk: Talk) -> None:
    settle(house, duplicate_window=WINDOW)
    first = await talk.submit(HEADER + b"\r\nbody\r\n.\r\n")
    house.clock.advance(WINDOW)
    assert await talk.submit(HEADER + b"\r\nbody\r\n.\r\n") != first


async def test_a_large_message_that_comes_again_is_known_too(house: House, talk: Talk) -> None:
    settle(house, duplicate_window=WINDOW)
    content = HEADER + b"\r\n" + b"0123456789\r\n" * 50_000 + b".\r\n"
    assert await talk.submit(content) == await talk.submit(content)
    assert len(house.messages) == 1


# --- control fields that choose


@pytest.mark.parametrize(
    ("pools", "field", "pool"),
    [
        ((), b"", "own"),
        ((), b"X-MTA-Pool: any\r\n", "any"),
        (("own", "other"), b"", "own"),
        (("own", "other"), b"X-MTA-Pool: other\r\n", "other"),
        (("own", "other"), b"X-MTA-Pool: none\r\n", None),
    ],
)
async def test_a_pool_is_the_fields_or_the_accounts(
    house: House, talk: Talk, pools: tuple[str, ...], field: bytes, pool: str | None
) -> None:
    settle(house, pools=frozenset(pools))
    limit(house, pool="own")
    reply = await talk.submit(field + HEADER + b"\r\n.\r\n")
    assert [message.pool for message in house.messages] == ([] if pool is None else [pool])
    if pool is None:
        assert reply == "550 5.6.0 Bad X-MTA-Pool field: there is no pool none"


@pytest.mark.parametrize(
    ("field", "reply"),
    [
        (b"X-MTA-Track: none\r\n", "250 2.0.0"),
        (
            b"X-MTA-Track: opens\r\n",
            "550 5.6.0 Bad X-MTA-Track field: account shop has not switched on tracking of opens",
        ),
        (b"X-MTA-Track: opens, clicks\r\n", "550 5.6.0 Bad X-MTA-Track field: account shop has not switched on tra"),
    ],
)
async def test_nobody_is_tracked_for_an_account_that_has_not_switched_it_on(
    house: House, talk: Talk, field: bytes, reply: str
) -> None:
    assert (await talk.submit(field + HEADER + b"\r\n.\r\n")).startswith(reply)


# --- connections


async def test_an_account_has_so_many_connections_and_the_next_hears_why(house: House) -> None:
    limit(house, max_connections=2)
    plain = base64.b64encode(f"\0shop\0{PASSWORD}".encode()).decode()
    async with await house.logged_in() as one, await house.logged_in():
        async with await house.talk() as third:
            await third.ask("EHLO x")
            assert await third.ask(f"AUTH PLAIN {plain}") == (
                "421 4.7.0 Error: account shop has 2 connections already, which is its limit"
            )
            assert await third.rest() == b""
        assert (await one.ask("NOOP")).startswith("250")
        await one.ask("QUIT")
        await one.rest()
        async with await house.logged_in() as fourth:
            assert (await fourth.ask("NOOP")).startswith("250")
    assert house.counts.rejections == [("connections", "submission")]


async def test_the_connections_of_others_do_not_count(house: House) -> None:
    house.authenticator.replace(Directory([replace(SHOP, max_connections=1), replace(SHOP, name="other")]))
    async with await house.logged_in(), await house.talk() as other, await house.talk() as nobody:
        credential = house.one_use.issue("other")
        await other.ask("EHLO x")
        await other.log_in(credential.login, credential.secret)
        assert (await nobody.ask("NOOP")).startswith("250")


async def test_a_suppressed_or_refused_recipient_uses_nothing_of_a_rate(house: House, talk: Talk) -> None:
    limit(house, rate=Rate(1, HOUR))
    house.gate.suppress("gone@example.net")
    await talk.ask(MAIL)
    assert (await talk.ask("RCPT TO:<gone@example.net>")).startswith("550")
    assert (await talk.ask("RCPT TO:<bad>")).startswith("501")
    assert (await talk.ask("RCPT TO:<b@example.net>")).startswith("250")
    await talk.ask("DATA")
    assert (await talk.ask(HEADER.decode() + "\r\n.")).startswith("250")
    assert [row.delivery.state for row in house.store.memory.rows.values()] == [State.QUEUED]
