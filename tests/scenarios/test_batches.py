"""Several recipients in one transaction, through the real daemon: when, with whom, and what a report of it may do."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mta.demo.receiver import Behaviour
from tests.scenarios.house import House, message, open_house
from tests.scenarios.postfix import open_postfix
from tests.scenarios.reports import DOMAIN, FULL, bounce, complaint, return_path, return_paths

A, B, C, D = (f"{name}@example.net" for name in "abcd")
BODY = "x" * 70 + "\n"
SMALL = "[delivery]\nbatch_above = 10_000\n"
RELAY = """
[[route]]
domain = "{domain}"
relay = "smtp://127.0.0.1:{port}"
batch = true
"""


@asynccontextmanager
async def opened(folder: Path, config: str = SMALL, retry: str = '["1s"]') -> AsyncIterator[House]:
    """A running server that puts recipients together from 10 kB on."""
    async with open_house(folder / "house", start=False, retry=retry) as house:
        (house.config.parent / "batches.toml").write_text(config.replace("{port}", str(house.sink.port)))
        async with house.server:
            yield house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as built:
        yield built


def large(*recipients: str) -> bytes:
    """A message that is above the limit with two recipients, and not with one."""
    return message(recipients, body=BODY * 100)


async def submit(house: House, *recipients: str) -> str:
    return await house.submit(*recipients, content=large(*recipients))


async def test_recipients_of_a_large_message_at_one_domain_share_a_transaction(house: House) -> None:
    queue_id = await submit(house, A, B, C, "a@example.org")
    await house.wait_for_states(queue_id, *["delivered"] * 4)
    assert sorted(house.sink.recipients) == [[A, B, C], ["a@example.org"]]
    together = next(one for one in house.sink.messages if len(one.recipients) == 3)
    assert return_path(together) == f"{return_paths(house).make_shared(queue_id, 0)}@{DOMAIN}"
    assert b"X-Report-Token" not in together.content
    assert b"DKIM-Signature" in together.content
    alone = next(one for one in house.sink.messages if len(one.recipients) == 1)
    assert return_path(alone).startswith("b")
    assert b"X-Report-Token" in alone.content


async def test_small_messages_and_bulk_do_not(house: House) -> None:
    small = await house.submit(A, B)
    bulk = await house.submit(A, B, content=b"X-MTA-Stream: bulk\r\n" + large(A, B))
    for queue_id in (small, bulk):
        await house.wait_for_states(queue_id, "delivered", "delivered")
    assert sorted(house.sink.recipients) == [[A], [A], [B], [B]]
    assert len({return_path(one) for one in house.sink.messages}) == 4


async def test_no_more_than_fifty_go_together(house: House) -> None:
    recipients = [f"u{number:03}@example.net" for number in range(120)]
    queue_id = await submit(house, *recipients)
    await house.wait_for_states(queue_id, *["delivered"] * 120)
    assert sorted(one for each in house.sink.recipients for one in each) == recipients
    assert max(map(len, house.sink.recipients)) == 50
    assert len({return_path(one) for one in house.sink.messages}) == 1


async def test_on_a_route_with_batch_they_go_together_whatever_the_size_and_the_domain(tmp_path: Path) -> None:
    async with opened(tmp_path, RELAY.replace("{domain}", "*")) as house:
        queue_id = await house.submit(A, B, "a@example.org")
        await house.wait_for_states(queue_id, *["delivered"] * 3)
        assert house.sink.recipients == [[A, B, "a@example.org"]]


async def test_each_has_its_own_outcome_event_and_notification(house: House) -> None:
    house.sink.answer("RCPT", A, "550 5.1.1 No such mailbox")
    house.sink.answer("RCPT", B, "450 4.2.0 Come back", times=1)
    queue_id = await submit(house, A, B, C)
    await house.wait_for_states(queue_id, "bounced", "delivered", "delivered")
    first = {one["recipient"]: one for one in await house.ask("events") if one.get("attempt") == 1}
    assert [(first[each]["type"], first[each]["reply"]["code"]) for each in (A, B, C)] == [
        ("bounced", 550),
        ("deferred", 450),
        ("delivered", 250),
    ]
    assert await house.suppressed() == [A]
    dsn = next(one for one in await house.sink.wait_for(2) if one.reverse_path == "")
    assert dsn.recipients == ("app@example.com",)
    assert dsn.content.count(b"Final-Recipient") == 1


async def test_who_is_too_many_goes_next_on_the_same_connection_and_has_not_failed(house: House) -> None:
    for recipient in (C, D):
        house.sink.answer("RCPT", recipient, "452 4.5.3 Too many recipients", times=1)
    queue_id = await submit(house, A, B, C, D)
    await house.wait_for_states(queue_id, *["delivered"] * 4)
    assert house.sink.recipients == [[A, B], [C, D]]
    assert house.sink.connections == 1
    assert set(await house.happened()) == {"accepted", "delivered"}
    (story,) = await house.why(queue_id)
    assert [one["attempts"] for one in story["deliveries"]] == [1] * 4


async def test_greylisting_sees_the_same_return_path_again_and_they_stay_together(tmp_path: Path) -> None:
    async with opened(tmp_path, retry='["2s"]') as house:
        house.sink.greylist(1)
        queue_id = await submit(house, A, B, C)
        await house.wait_for_states(queue_id, *["delivered"] * 3)
        assert house.sink.recipients == [[A, B, C]]
        mails = {one.partition(" SIZE")[0] for one in house.sink.commands if one.startswith("MAIL")}
        assert len(mails) == 1


async def test_a_report_acts_on_those_whom_it_names_and_who_are_in_the_batch(house: House) -> None:
    queue_id = await submit(house, A, B, C)
    await house.wait_for_states(queue_id, *["delivered"] * 3)
    other = await house.submit(D)
    await house.wait_for_states(other, "delivered")
    together = next(one for one in house.sink.messages if len(one.recipients) == 3)
    path = return_path(together)

    # a stranger, one of another message, nobody, and a token that is not quite ours
    for address in ("stranger@example.org", D):
        assert (await house.bring(path, bounce(together, address))).startswith("250")
    assert (await house.bring(path, b"Subject: it failed\r\n\r\nSorry.\r\n")).startswith("250")
    local_part = path.partition("@")[0]
    forged = f"{local_part[:-1]}{'0' if local_part[-1] != '0' else '1'}@{DOMAIN}"
    assert (await house.bring(forged, bounce(together, A))).startswith("550")
    assert set(await house.states(queue_id) + await house.states(other)) == {"delivered"}
    assert await house.suppressed() == []

    # two of them, each by name, one with a full mailbox; told again it counts once
    for _ in range(2):
        assert (await house.bring(path.upper(), bounce(together, B.upper()))).startswith("250")
    assert (await house.bring(path, bounce(together, C, FULL))).startswith("250")
    await house.wait_for_states(queue_id, "bounced", "bounced", "delivered")
    (story,) = await house.why(queue_id)
    assert {one["recipient"]: one["state"] for one in story["deliveries"]} == {
        A: "delivered",
        B: "bounced",
        C: "bounced",
    }
    assert await house.suppressed() == [B]
    assert (await house.happened()).count("bounced") == 2
    effects = Counter(one["effect"] for one in await house.ask("bounces", "list"))
    assert effects["names nobody of its batch"] >= 2


async def test_a_complaint_that_names_nobody_of_a_batch_changes_nothing(house: House) -> None:
    queue_id = await submit(house, A, B)
    (together,) = await house.sink.wait_for(1)
    await house.wait_for_states(queue_id, "delivered", "delivered")
    back = f"Return-Path: <{return_path(together)}>\r\n".encode() + together.content
    assert (await house.bring(f"fbl@{DOMAIN}", complaint(back))).startswith("250")
    assert await house.suppressed() == []
    named = complaint(back).replace(b"Version: 1\r\n", b"Version: 1\r\nOriginal-Rcpt-To: <b@example.net>\r\n")
    assert (await house.bring(f"fbl@{DOMAIN}", named)).startswith("250")
    assert await house.suppressed() == [B]
    assert (await house.happened()).count("complained") == 1


@pytest.mark.parametrize("verb", ["RCPT", "DATA", "DOT"])
async def test_a_kill_in_the_midst_of_a_batch_loses_nobody(tmp_path: Path, verb: str) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        (house.config.parent / "batches.toml").write_text(SMALL)
        house.sink.answer(verb, C if verb == "RCPT" else None, Behaviour.HANG, times=1)
        async with house.server:
            queue_id = await submit(house, A, B, C)
            await house.see(f"{verb} came", lambda: _reached(house, verb))
            await house.server.kill()
        assert house.sink.messages == []
        async with house.server:
            await house.wait_for_states(queue_id, *["delivered"] * 3)
        assert sorted(one for each in house.sink.recipients for one in each) == [A, B, C]


def _reached(house: House, verb: str) -> bool:
    commands = [one.partition(" ")[0] for one in house.sink.commands]
    return commands.count("RCPT") == 3 if verb == "RCPT" else bool({"DATA", "BDAT"} & set(commands))


async def test_a_stop_gives_a_batch_back(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        (house.config.parent / "batches.toml").write_text(SMALL)
        house.sink.answer("RCPT", C, Behaviour.HANG, times=1)
        async with house.server:
            queue_id = await submit(house, A, B, C)
            await house.see("RCPT came", lambda: _reached(house, "RCPT"))
        assert set(house.rows("SELECT state, attempts, owner FROM deliveries")) == {("queued", 0, None)}
        async with house.server:
            await house.wait_for_states(queue_id, *["delivered"] * 3)
        assert house.sink.recipients == [[A, B, C]]


@pytest.mark.peer("postfix")
async def test_postfix_takes_three_at_a_time_and_all_of_them_at_last(tmp_path: Path) -> None:
    names = [f"u{number}@example.net" for number in range(8)]
    aliases = ", ".join(f"{{ {name} = a@example.net }}" for name in names)
    more = f"smtpd_recipient_limit = 3\nvirtual_alias_maps = inline:{{ {aliases} }}\n"
    async with open_postfix(more=more) as postfix:
        route = RELAY.replace("{domain}", "example.net").replace("{port}", str(postfix.port))
        async with opened(tmp_path, route) as house:
            queue_id = await house.submit("nobody@example.net", *names)
            await house.wait_for_states(queue_id, "bounced", *["delivered"] * len(names))
            assert set(await house.happened()) <= {"accepted", "delivered", "bounced", "suppression_added", "deferred"}
            (story,) = await house.why(queue_id)
            assert [one["attempts"] for one in story["deliveries"]] == [1] * 9
            await house.see("all stored", lambda: len(postfix.mailbox("a")) == len(names))
            stored = postfix.mailbox("a")
    (path,) = {_found(rb"Return-Path: <(.*)>", mail) for mail in stored}
    assert path.startswith("g")
    # the id that Postfix gave to each transaction
    assert sorted(Counter(_found(rb"\sid (\w+)", mail) for mail in stored).values()) == [2, 3, 3]


def _found(pattern: bytes, stored: bytes) -> str:
    match = re.search(pattern, stored)
    assert match is not None, stored
    return match[1].decode()
