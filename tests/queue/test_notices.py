"""Submitters hear of mail that is late though nothing of it was attempted: once, with what is known of the site."""

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.errors import StoreUnavailable
from mta.events import Event, EventType
from mta.mail.outcome import Deferred
from mta.mail.reply import Reply
from mta.queue.model import Pause, PauseScope, State
from mta.queue.notices import DelayNotices
from mta.queue.pace import Pace
from mta.queue.records import Records
from mta.queue.settle import Settled
from mta.queue.traffic import Traffic
from tests.fakes.clock import FakeClock
from tests.fakes.house import BACK_OFF, SCHEDULE, House
from tests.fakes.letters import Letters
from tests.fakes.memory_store import MemoryStore
from tests.fakes.world import Notes, said

MX = "mx.example.net"
CLOSING = Reply.of(421, "4.3.2", "mx1 is being looked at")
DEAD = Deferred(CLOSING, said(CLOSING, "greeting"))
LATE = SCHEDULE.delay_notice_after
LONG = timedelta(hours=12)
NOTICE = EventType.DELAYED_NOTICE.value


def notifications(house: House) -> set[str]:
    """What was written to submitters, delivered or not, as text."""
    contents = [*house.memory.contents.values(), *(letter.content for letter in house.transport.letters)]
    texts = ((content.header + b"\r\n" + b"".join(content.body)).decode() for content in contents)
    return {text for text in texts if "report-type=delivery-status" in text}


async def rest(house: House) -> None:
    """Let the site of example.net rest for long, by a first mail that nobody is told of."""
    house.transport.sites[MX] = DEAD
    await house.submit("first@example.net", sender="")
    await house.until(lambda: MX in house.memory.rests)
    rests = house.dispatcher._traffic._rests
    noted = rests.of(MX)
    assert noted is not None
    rests.resume(replace(noted, until=noted.until + LONG.total_seconds()))


async def test_mail_behind_a_site_that_rests_gets_its_notice_in_time_without_an_attempt() -> None:
    house = House()
    async with house.running():
        await rest(house)
        (never,) = await house.submit("never@example.net")
        house.clock.advance(LATE - timedelta(seconds=1))
        await house.dispatcher._notices.look()
        assert NOTICE not in house.notes.types
        house.clock.advance(1)
        await house.dispatcher._notices.look()
        (event,) = [event for event in house.notes.events if event.type == NOTICE]
        assert (event.delivery_id, event.attempt, event.reply) == (never, None, CLOSING)
        (dsn,) = notifications(house)
        assert event.detail["dsn"] in house.memory.messages
        assert "Action: delayed" in dsn
        assert "Diagnostic-Code: smtp; 421 4.3.2 mx1 is being looked at" in dsn
        assert "Remote-MTA: dns; mx.example.net" in dsn
        assert "Will-Retry-Until" in dsn
        assert "never@example.net" not in house.transport.begun


async def test_it_is_told_once_and_the_delivery_waits_as_before() -> None:
    house = House()
    async with house.running():
        await rest(house)
        (never,) = await house.submit("never@example.net")
        house.clock.advance(LATE)
        before = house.memory.rows[never].delivery
        for _ in range(3):
            await house.dispatcher._notices.look()
        assert house.notes.types.count(NOTICE) == 1
        after = house.memory.rows[never].delivery
        assert after.delay_noticed
        assert (after.state, after.due_at, after.attempts) == (State.QUEUED, before.due_at, 0)


async def test_an_attempt_that_fails_later_tells_nobody_again() -> None:
    house = House()
    async with house.running():
        await rest(house)
        (never,) = await house.submit("never@example.net")
        house.clock.advance(LATE)
        await house.dispatcher._notices.look()
        await house.pass_time(LONG)
        await house.until(lambda: house.memory.rows[never].delivery.attempts > 0)
        assert house.notes.types.count(NOTICE) == 1


async def test_what_is_paused_gets_its_notice_too() -> None:
    house = House()
    house.memory.pauses.append(Pause("p", PauseScope.ALL, "", "maintenance", "root", house.clock.now()))
    async with house.running():
        await house.submit("a@example.net")
        house.clock.advance(LATE)
        await house.dispatcher._notices.look()
    (dsn,) = notifications(house)
    assert "could not be attempted yet" in dsn


class Stubborn(MemoryStore):
    """Can be read, but does not write down the first few notices."""

    refusals = 1

    async def tell_late(self, settled: Settled) -> Sequence[Event] | None:
        """Note that a submitter was told."""
        self.refusals -= 1
        if self.refusals >= 0:
            raise StoreUnavailable("locked")
        return await super().tell_late(settled)


async def test_what_the_store_could_not_write_is_told_by_the_next_look() -> None:
    clock, notes, woken = FakeClock(), Notes(), list[bool]()
    store = Stubborn(clock)
    notices = DelayNotices(
        store,
        Records("mail.example.com", Letters(clock, worker=1).ids, clock.now),
        [notes],
        Traffic(Pace(), BACK_OFF, clock, random.Random(1)),
        lambda: SCHEDULE,
        clock.now,
        lambda: woken.append(True),
    )
    await store.accept(Letters(clock).new(["a@example.net", "b@example.net"]), [])
    clock.advance(LATE)
    with pytest.raises(StoreUnavailable):
        await notices.look()
    await notices.look()
    assert notes.types.count(NOTICE) == 2
    assert woken == [True, True]


async def test_mail_that_expires_at_a_site_that_rests_names_the_host_that_was_heard_last() -> None:
    house = House()
    async with house.running():
        await rest(house)
        (never,) = await house.submit("never@example.net")
        house.memory.messages[house.memory.rows[never].delivery.message_id] = replace(
            house.memory.messages[house.memory.rows[never].delivery.message_id],
            expires_at=house.clock.now() + timedelta(hours=1),
        )
        await house.pass_time(timedelta(hours=2))
        await house.states([never], State.EXPIRED)
        delivery = house.memory.rows[never].delivery
        assert (delivery.attempts, delivery.last_reply) == (0, CLOSING)
    (dsn,) = notifications(house)
    assert "Action: failed" in dsn
    assert "Remote-MTA: dns; mx.example.net" in dsn
