"""One attempt and what is decided about it: hints of hosts, the breaker, clocks that are set."""

import asyncio
from datetime import timedelta

import pytest

from mta.mail.outcome import Bounced, Deferred
from mta.mail.reply import Reply
from mta.queue.model import State
from mta.queue.pace import Pace
from mta.queue.room import SMALL
from tests.fakes.house import House
from tests.fakes.world import said

UNKNOWN = Reply.of(550, "5.1.1", "no such user")
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("greylisted, try again in 60 seconds", 60, 66),
        ("greylisted", 270, 330),
        ("mailbox busy, try again in 20 minutes", 1200, 1320),
        ("mailbox busy", 270, 330),
    ],
)
async def test_a_host_that_names_a_time_is_asked_again_then(text: str, least: int, most: int) -> None:
    house = House()
    reply = Reply.of(450, "4.2.0", text)
    house.transport.answer("a@example.net", Deferred(reply, said(reply)))
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.notes.types == ["deferred"])
        wait = house.memory.rows[ids[0]].delivery.due_at - house.clock.now()
        assert timedelta(seconds=least) <= wait <= timedelta(seconds=most)
        await house.pass_time(timedelta(seconds=most + 1))
        await house.states(ids, State.DELIVERED)


@pytest.mark.parametrize("shared", [None, "g"], ids=["one recipient", "batches"])
async def test_large_messages_have_no_more_in_memory_together_than_there_is_room_for(shared: str | None) -> None:
    body = b"x" * 76 * (SMALL // 76) + b"x\r\n" * 100
    house = House(pace=Pace(octets=2 * SMALL + 10_000))
    house.transport.gate = asyncio.Event()
    async with house.running():
        ids: list[str] = []
        for number in range(5):
            names = [f"{name}{number}@example.net" for name in ("ab" if shared else "a")]
            new = house.letters.new(names, body=body, shared=shared and f"{shared}{number}")
            assert new.message.size > SMALL
            await house.store.accept(new, [])
            ids += [one.id for one in new.deliveries]
        house.dispatcher.wake()
        await house.until(lambda: house.dispatcher.in_hand == len(ids) and house.transport.waiting == 2)
        assert house.store.contents_read == 2
        # small ones have their places meanwhile
        small = await house.submit(*(f"s{number}@example.net" for number in range(3)))
        await house.until(lambda: house.transport.waiting == 5)
        house.transport.gate.set()
        await house.states(ids + small, *[State.DELIVERED] * len(ids + small))
    # in the order in which they came
    large = [letter for letter in house.transport.letters if letter.message.size > SMALL]
    assert [str(letter.recipient.mailbox) for letter in large] == [f"a{number}@example.net" for number in range(5)]


# the breaker


async def outage(house: House) -> None:
    """Deliver to many, who then do not exist, they say."""
    names = [f"u{number}@example.net" for number in range(60)]
    ids = await house.submit(*names)
    await house.states(ids, *[State.DELIVERED] * 60)
    for name in names:
        house.transport.answer(name, Bounced(UNKNOWN, said(UNKNOWN)))
    ids = await house.submit(*names)
    await house.states(ids, *[State.BOUNCED] * 60)
    await house.until(lambda: house.notes.types.count("bounced") == 60)


async def test_false_mass_bounces_suppress_few_and_count_little_and_are_told_once() -> None:
    house = House()
    async with house.running():
        await outage(house)
    (opened,) = [event for event in house.notes.events if event.type == "breaker_open"]
    assert opened.site == "mx.example.net"
    assert opened.recipient is None
    assert opened.detail["delivered_lately"] == opened.detail["hard_bounces"]
    believed = [event for event in house.notes.events if event.type == "bounced" and not event.detail.get("breaker")]
    assert len(believed) < 25
    assert len(house.memory.suppressions) == len(believed)
    # they bounce all the same, and the submitter hears of each
    assert house.transport.begun.count("app@example.com") == 60
    assert sum(tally.hard_bounced for tally in house.memory.tallies.values()) == len(believed)


async def test_when_the_operator_closes_it_bounces_count_again() -> None:
    house = House()
    async with house.running():
        await outage(house)
        assert house.dispatcher.breaker.close("mx.example.net")
        before = len(house.memory.suppressions)
        house.transport.answer("new@example.net", Bounced(UNKNOWN, said(UNKNOWN)))
        await house.states(await house.submit("new@example.net"), State.BOUNCED)
        assert len(house.memory.suppressions) == before + 1


# clocks


async def test_a_clock_that_leaps_a_day_ahead_expires_nothing_and_floods_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House(pace=Pace(per_site=3, first_places=3))
    later = Reply.of(450, "4.2.0", "mailbox busy")
    names = [f"u{number}@example.net" for number in range(12)]
    for name in names:
        house.transport.answer(name, *[Deferred(later, said(later))] * 2)
    async with house.running():
        ids = await house.submit(*names)
        await house.until(lambda: house.notes.types.count("deferred") == 12)
        house.clock.step(2 * DAY)
        house.dispatcher.wake()
        # due at once by the leapt clock: attempted, deferred again, and not given up
        await house.until(lambda: house.notes.types.count("deferred") == 24)
        assert house.transport.most_at_once <= 3
        house.clock.step(-2 * DAY)
        # their next times were set by the wrong clock, and are past their age: each gets a last attempt all the same
        await house.pass_time(timedelta(hours=25))
        await house.states(ids, *[State.DELIVERED] * 12)
    assert "the clock has leapt ahead by 2 days" in caplog.text


async def test_a_clock_that_is_set_back_a_day_loses_nothing() -> None:
    house = House()
    async with house.running():
        house.clock.step(-DAY)
        ids = await house.submit("a@example.net", "b@example.net")
        await house.states(ids, State.DELIVERED, State.DELIVERED)
        later = Reply.of(450, "4.2.0", "mailbox busy")
        house.transport.answer("c@example.net", Deferred(later, said(later)))
        ids = await house.submit("c@example.net")
        await house.until(lambda: "deferred" in house.notes.types)
        await house.pass_time(timedelta(minutes=6))
        await house.states(ids, State.DELIVERED)


async def test_a_leap_of_the_clock_while_an_attempt_is_past_its_dot_delivers_once() -> None:
    house = House()
    house.transport.gate_after_dot = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        house.clock.step(DAY)
        house.dispatcher.wake()
        await house.until(lambda: house.store.claims >= 3)
        house.transport.gate_after_dot.set()
        await house.states(ids, State.DELIVERED)
    assert house.transport.begun == ["a@example.net"]
