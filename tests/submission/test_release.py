"""Mail that is not to be sent before a time: asked for at MAIL, kept with the message, obeyed by the queue."""

from datetime import datetime, timedelta

import pytest

from mta.queue.model import State
from mta.smtp.settings import Kind
from tests.fakes.clock import START
from tests.submission.conftest import HEADER, House, OpenHouse

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("parameter", "release_at"),
    [
        ("HOLDFOR=1", START + timedelta(seconds=1)),
        ("HOLDFOR=2592000", START + 30 * DAY),
        ("holdfor=3600", START + HOUR),
        ("HOLDUNTIL=2026-11-22T13:00:00Z", START + HOUR),
        ("HOLDUNTIL=2026-11-22T14:00:00+01:00", START + HOUR),
        ("HOLDUNTIL=2026-12-22T12:00:00Z", START + 30 * DAY),
    ],
)
async def test_a_message_is_due_at_its_release_and_not_before(
    house: House, parameter: str, release_at: datetime
) -> None:
    house.hands.room = 9
    async with await house.logged_in() as talk:
        assert (await talk.submit(HEADER + b"\r\n.\r\n", parameters=f" {parameter}")).startswith("250 2.0.0")
    (row,) = house.store.memory.rows.values()
    assert house.messages[0].release_at == row.delivery.due_at == release_at
    assert (row.delivery.state, house.hands.taken, house.hands.wakes) == (State.QUEUED, [], 1)
    house.clock.advance(release_at - START - timedelta(milliseconds=1))
    assert await house.store.claim(9) == []
    house.clock.advance(timedelta(milliseconds=1))
    assert len(await house.store.claim(9)) == 1


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        ("HOLDFOR=2592001", "501 5.5.4 Bad release time: HOLDFOR may be 2592000 at most"),
        ("HOLDUNTIL=2026-12-22T12:00:01Z", "501 5.5.4 Bad release time: HOLDUNTIL may be 2026-12-22T12:00:00Z at most"),
        ("HOLDUNTIL=2026-11-22T12:00:00Z", "501 5.5.4 Bad release time: HOLDUNTIL is over; here it is 2026-11-22T12:"),
        ("HOLDUNTIL=0001-01-01T00:00:00Z", "501 5.5.4 Bad release time: HOLDUNTIL is over"),
        ("HOLDUNTIL=9999-12-31T23:59:59Z", "501 5.5.4 Bad release time: HOLDUNTIL may be"),
        ("HOLDFOR=1 HOLDUNTIL=2026-11-22T13:00:00Z", "501 5.5.4 Bad release time: HOLDFOR and HOLDUNTIL exclude"),
    ],
)
async def test_a_release_that_cannot_be_is_refused_at_mail(house: House, parameters: str, reply: str) -> None:
    async with await house.logged_in() as talk:
        assert (await talk.ask(f"MAIL FROM:<a@own.example> {parameters}")).startswith(reply)
        assert (await talk.ask("RCPT TO:<b@example.net>")).startswith("503 5.5.1")


@pytest.mark.parametrize(
    ("longest", "announced"),
    [
        (timedelta(hours=1), "FUTURERELEASE 3600 2026-11-22T13:00:00Z"),
        (timedelta(seconds=1.5), "FUTURERELEASE 1 2026-11-22T12:00:01Z"),
        (timedelta(days=999_999), "FUTURERELEASE 999999999 2058-07-31T13:46:39Z"),
    ],
)
async def test_the_limits_of_a_release_are_announced(open_house: OpenHouse, longest: timedelta, announced: str) -> None:
    async with open_house(max_hold=longest) as house, await house.talk() as talk:
        assert f"250-{announced}" in (await talk.ask("EHLO x")).split("\n")


async def test_a_release_that_comes_while_the_content_does_is_none(house: House) -> None:
    async with await house.logged_in() as talk:
        for command in ("MAIL FROM:<a@own.example> HOLDFOR=60", "RCPT TO:<b@example.net>", "DATA"):
            await talk.ask(command)
        house.clock.advance(60)
        assert (await talk.ask(HEADER.decode() + "\r\n.")).startswith("250")
    (row,) = house.store.memory.rows.values()
    assert (house.messages[0].release_at, row.delivery.due_at) == (None, house.clock.now())


async def test_rset_ends_a_hold(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.ask("MAIL FROM:<a@own.example> HOLDFOR=60")
        await talk.ask("RSET")
        await talk.submit(HEADER + b"\r\n.\r\n")
    assert house.messages[0].release_at is None


async def test_what_expires_does_so_a_while_after_its_release(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.submit(b"X-MTA-Expires: 15m\r\n" + HEADER + b"\r\n.\r\n", parameters=" HOLDFOR=3600")
    assert house.messages[0].expires_at == START + HOUR + timedelta(minutes=15)


async def test_the_acceptance_tells_the_release(house: House) -> None:
    async with await house.logged_in() as talk:
        await talk.submit(HEADER + b"\r\n.\r\n", parameters=" HOLDFOR=3600")
    assert house.watcher.events[0].detail["release_at"] == "2026-11-22T13:00:00+00:00"


@pytest.mark.parametrize(
    ("kind", "offer", "is_offered"),
    [(Kind.TLS, True, True), (Kind.TLS, False, False), (Kind.PLAIN, True, False), (Kind.PLAIN, False, False)],
)
async def test_requiretls_is_taken_under_tls_where_delivery_keeps_it(
    open_house: OpenHouse, kind: Kind, offer: bool, is_offered: bool
) -> None:
    async with open_house(offer_requiretls=offer) as house, await house.talk(kind) as talk:
        assert ("REQUIRETLS" in await talk.ask("EHLO x")) is is_offered
        credential = house.one_use.issue("shop")
        await talk.log_in(credential.login, credential.secret)
        if is_offered:
            await talk.submit(HEADER + b"\r\n.\r\n", parameters=" requiretls")
            assert [message.requiretls for message in house.messages] == [True]
        else:
            assert (await talk.ask("MAIL FROM:<a@own.example> REQUIRETLS")).startswith("555 5.5.4")
