"""Sites that rest, sites that are paused: what the dispatcher does about them."""

import asyncio
import random
from datetime import timedelta

import pytest

from mta.mail.outcome import Bounced, Deferred
from mta.mail.reply import Reply
from mta.queue.model import Pause, PauseScope, SiteRest, State
from mta.queue.pace import Pace
from mta.queue.sites import Said
from mta.queue.traffic import Traffic
from tests.fakes.clock import FakeClock
from tests.fakes.house import BACK_OFF, House
from tests.fakes.world import said

MX = "mx.example.net"
REFUSED = Reply.of(451, "4.4.1", "No connection to the host: Connection refused")
BLOCKED = Reply.of(554, "5.7.1", "mail from your address is not welcome")
DEAD = Deferred(REFUSED, said(REFUSED, "connect"))
REFUSES = Deferred(BLOCKED, said(BLOCKED, "greeting"))


def pause(scope: PauseScope, value: str) -> Pause:
    return Pause(f"{scope}{value}", scope, value, "maintenance", "root", House().clock.now())


async def probed(house: House, times: int) -> None:
    """Wait until a site was found dead so many times."""
    await house.until(lambda: MX in house.memory.rests and house.memory.rests[MX].failures == times)


async def test_a_dead_site_gets_one_probe_in_a_while_and_not_one_for_each_message() -> None:
    house = House()
    house.transport.sites[MX] = DEAD
    async with house.running():
        ids = await house.submit("first@example.net")
        await house.until(lambda: MX in house.memory.rests)
        ids += await house.submit(*(f"u{number}@example.net" for number in range(100)))
        for probes in range(2, 6):
            await house.pass_time(timedelta(minutes=70))
            await probed(house, probes)
            await house.until(lambda: house.dispatcher.in_hand == 0)
        # the submitter hears of the delay meanwhile, at another site
        assert sum(name.endswith("example.net") for name in house.transport.begun) == 5
        assert house.notes.types.count("deferred") == 5
        # the others wait without an attempt, and without an event
        untouched = [one for one in ids if house.memory.rows[one].delivery.attempts == 0]
        assert len(untouched) >= 96
        house.transport.sites.clear()
        await house.pass_time(timedelta(minutes=70))
        await house.states(ids, *[State.DELIVERED] * 101)
        await house.until(lambda: MX not in house.memory.rests)


async def test_the_rest_of_one_site_is_nobody_elses() -> None:
    house = House()
    house.transport.sites[MX] = DEAD
    async with house.running():
        await house.submit("a@example.net")
        await house.until(lambda: MX in house.memory.rests)
        ids = await house.submit("a@example.org", "b@example.net")
        await house.states(ids, State.DELIVERED, State.QUEUED)


async def test_attempts_under_way_when_a_site_dies_make_one_rest_together() -> None:
    house = House(pace=Pace(first_places=10))
    gate = house.transport.gates[MX] = asyncio.Event()
    house.transport.sites[MX] = DEAD
    async with house.running():
        await house.submit(*(f"u{number}@example.net" for number in range(10)))
        await house.until(lambda: house.transport.waiting == 10)
        gate.set()
        await house.until(lambda: house.notes.types.count("deferred") == 10)
        await house.until(lambda: MX in house.memory.rests)
    assert house.memory.rests[MX].failures == 1


async def test_a_site_that_serves_others_meanwhile_does_not_rest() -> None:
    house = House()
    busy = Reply.of(421, "4.3.2", "too many connections from you")
    gate = house.transport.gates[MX] = asyncio.Event()
    house.transport.answer("late@example.net", Deferred(busy, said(busy, "greeting")))
    async with house.running():
        ids = await house.submit("late@example.net", "a@example.net")
        await house.until(lambda: house.transport.waiting == 2)
        # the one that succeeds ends first
        del house.transport.gates[MX]
        other = await house.submit("b@example.net")
        house.clock.advance(1)
        await house.states(other, State.DELIVERED)
        gate.set()
        await house.states(ids, State.QUEUED, State.DELIVERED)
    assert house.memory.rests == {}


async def test_a_refusal_of_us_before_rcpt_never_bounces_and_is_told_the_operator_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House()
    house.transport.sites[MX] = REFUSES
    async with house.running():
        ids = await house.submit("a@example.net")
        for probes in range(1, 4):
            await probed(house, probes)
            await house.pass_time(timedelta(hours=2))
        assert house.store.state_of(ids[0]) is not State.BOUNCED
    assert caplog.text.count("refuses this server, not a recipient") == 1
    assert "bounced" not in house.notes.types
    assert house.memory.suppressions == {}


async def test_what_waits_for_a_dead_site_expires_with_what_was_said_there() -> None:
    house = House()
    house.transport.sites[MX] = DEAD
    async with house.running():
        (first,) = await house.submit("first@example.net")
        await house.until(lambda: MX in house.memory.rests)
        (never,) = await house.submit("never@example.net")
        for _ in range(26):
            await house.pass_time(timedelta(hours=1))
            await house.until(lambda: house.dispatcher.in_hand == 0)
            await asyncio.sleep(0.002)
        await house.states([first, never], State.EXPIRED, State.EXPIRED)
        await house.until(lambda: house.notes.types.count("expired") == 2)
    replies = {event.recipient: event.reply for event in house.notes.events if event.type == "expired"}
    assert replies["first@example.net"] == REFUSED
    told = replies["never@example.net"]
    assert told is not None
    assert "Connection refused" in told.text


async def test_a_rest_that_was_noted_before_a_restart_still_holds() -> None:
    house = House()
    until = house.clock.now() + timedelta(minutes=30)
    house.memory.rests[MX] = SiteRest(MX, until, 5, "451 4.4.1 Connection refused")
    async with house.running():
        ids = await house.submit("a@example.net", "b@example.org")
        await house.states(ids, State.QUEUED, State.DELIVERED)
        assert house.transport.begun == ["b@example.org"]
        await house.pass_time(timedelta(minutes=31))
        await house.states(ids, State.DELIVERED, State.DELIVERED)


async def test_a_probe_that_comes_to_nothing_lets_another_one_go() -> None:
    house = House()
    until = house.clock.now() + timedelta(minutes=30)
    house.memory.rests[MX] = SiteRest(MX, until, 1, "451 4.4.1 Connection refused")
    house.transport.answer("a@example.net", RuntimeError("a bug"))
    async with house.running():
        (broken,) = await house.submit("a@example.net")
        await house.pass_time(timedelta(minutes=31))
        await house.until(lambda: house.memory.rows[broken].delivery.attempts == 1)
        (other,) = await house.submit("b@example.net")
        await house.states([other], State.DELIVERED)


@pytest.mark.parametrize(
    ("scope", "value", "goes"),
    [
        (PauseScope.SITE, MX, ["o@example.org"]),
        (PauseScope.ACCOUNT, "app", []),
        (PauseScope.STREAM, "transactional", []),
        (PauseScope.STREAM, "bulk", ["n@example.net", "o@example.org"]),
        (PauseScope.ALL, "", []),
        (PauseScope.ACCOUNT, "other", ["n@example.net", "o@example.org"]),
    ],
)
@pytest.mark.parametrize("leased", [True, False])
async def test_what_is_paused_is_not_attempted_until_it_is_resumed(
    scope: PauseScope, value: str, goes: list[str], leased: bool
) -> None:
    house = House()
    house.memory.pauses.append(pause(scope, value))
    async with house.running():
        ids = await house.submit("n@example.net", "o@example.org", lease=leased)
        await house.until(lambda: len(house.transport.begun) == len(goes) and house.dispatcher.in_hand == 0)
        await asyncio.sleep(0.02)
        assert sorted(house.transport.begun) == goes
        house.memory.pauses.clear()
        house.dispatcher.wake()
        await house.states(ids, State.DELIVERED, State.DELIVERED)
        assert sorted(house.transport.begun) == ["n@example.net", "o@example.org"]


async def test_what_waits_in_memory_heeds_a_pause() -> None:
    house = House(pace=Pace(per_site=1, first_places=1))
    gate = house.transport.gates[MX] = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net", "b@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        claims = house.store.claims
        house.memory.pauses.append(pause(PauseScope.SITE, MX))
        house.dispatcher.wake()
        await house.until(lambda: house.store.claims > claims)
        gate.set()
        await house.states(ids, State.DELIVERED, State.QUEUED)
        assert len(house.transport.begun) == 1


async def test_a_name_that_cannot_be_looked_up_is_asked_for_once_in_a_while() -> None:
    house = House()
    trouble = Reply.of(451, "4.4.3", "The domain's name servers did not answer")
    house.router.answers["example.net"] = Deferred(trouble)
    async with house.running():
        ids = await house.submit("first@example.net")
        await house.until(lambda: "example.net" in house.memory.rests)
        ids += await house.submit(*(f"u{number}@example.net" for number in range(50)))
        other = await house.submit("a@example.org")
        await house.states(other, State.DELIVERED)
        await house.until(lambda: house.dispatcher.in_hand == 0)
        assert sum(house.memory.rows[one].delivery.attempts for one in ids) == 1
        del house.router.answers["example.net"]
        await house.pass_time(timedelta(minutes=6))
        await house.states(ids, *[State.DELIVERED] * 51)
        await house.until(lambda: house.memory.rests == {})


async def test_a_name_that_takes_long_to_look_up_keeps_few_in_hand() -> None:
    house = House(pace=Pace(per_site=2, first_places=2))
    gate = house.router.gates["example.net"] = asyncio.Event()
    async with house.running():
        ids = await house.submit(*(f"u{number}@example.net" for number in range(50)))
        other = await house.submit("a@example.org")
        await house.states(other, State.DELIVERED)
        await house.until(lambda: house.dispatcher.in_hand == 6)
        gate.set()
        await house.states(ids, *[State.DELIVERED] * 50)


async def test_a_hard_refusal_at_rcpt_ends_a_rest_for_the_site_has_spoken() -> None:
    house = House()
    unknown = Reply.of(550, "5.1.1", "no such user")
    house.memory.rests[MX] = SiteRest(MX, house.clock.now() + timedelta(minutes=30), 1, "451 4.4.1 refused")
    house.transport.answer("a@example.net", Bounced(unknown, said(unknown)))
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.pass_time(timedelta(minutes=31))
        await house.states(ids, State.BOUNCED)
        await house.until(lambda: MX not in house.memory.rests)


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        ("421 4.3.2 closing down", Reply.of(421, "4.3.2", "closing down")),
        ("554 go away", Reply(554, None, "go away")),
        ("550", Reply(550, None, "")),
        ("timed out", Reply.of(451, "4.4.1", "timed out")),
        ("250 fine", Reply.of(451, "4.4.1", "250 fine")),
    ],
)
def test_a_rest_that_others_noted_says_what_was_said_there(noted: str, expected: Reply) -> None:
    clock = FakeClock()
    traffic = Traffic(Pace(), BACK_OFF, clock, random.Random(1))
    traffic.take_rests([SiteRest(MX, clock.now() + timedelta(hours=1), 3, noted)], clock.now())
    assert traffic.said("example.net") is None
    # where a delivery was attempted before is known of it, though the worker has not been there since its start
    assert traffic.said("example.net", MX) == Said(expected)
