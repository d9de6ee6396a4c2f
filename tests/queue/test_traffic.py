"""Sites that rest, sites that are paused: what the dispatcher does about them."""

import asyncio
import random
from datetime import timedelta

import pytest

from mta.mail import failures
from mta.mail.outcome import Bounced, Deferred
from mta.mail.reply import Reply
from mta.queue.model import Pause, PauseScope, SiteRest, State
from mta.queue.pace import Pace
from mta.queue.seams import Host, Site
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


@pytest.mark.parametrize("scope", [PauseScope.ACCOUNT, PauseScope.STREAM, PauseScope.ALL, PauseScope.SITE])
async def test_what_is_paused_for_too_long_expires_without_an_attempt_for_the_reason_heard_last(
    scope: PauseScope,
) -> None:
    house = House()
    values = {PauseScope.ACCOUNT: "app", PauseScope.STREAM: "transactional", PauseScope.SITE: MX}
    busy = Reply.of(450, "4.2.0", "mailbox is busy")
    house.transport.answer("tried@example.net", Deferred(busy, said(busy)))
    async with house.running():
        ids = await house.submit("tried@example.net")
        await house.until(lambda: house.notes.types == ["deferred"])
        house.memory.pauses.append(pause(scope, values.get(scope, "")))
        claims = house.store.claims
        house.dispatcher.wake()
        await house.until(lambda: house.store.claims > claims)
        ids += await house.submit("never@example.net")
        await house.pass_time(timedelta(days=1) - timedelta(minutes=1))
        await house.until(lambda: house.dispatcher.in_hand == 0)
        assert [house.store.state_of(one) for one in ids] == [State.QUEUED] * 2
        await house.pass_time(timedelta(minutes=2))
        await house.states(ids, State.EXPIRED, State.EXPIRED)
        await house.until(lambda: house.notes.types.count("expired") == 2)
        assert house.transport.begun[:1] == ["tried@example.net"]
        assert "never@example.net" not in house.transport.begun
        assert house.transport.begun.count("tried@example.net") == 1
        house.memory.pauses.clear()
        house.dispatcher.wake()
        # what the submitter hears is sent when it may be
        await house.until(lambda: house.transport.recipients[-2:] == ["app@example.com"] * 2)
    replies = {event.recipient: event.reply for event in house.notes.events if event.type == "expired"}
    assert replies == {"tried@example.net": busy, "never@example.net": failures.EXPIRED_WAITING}
    told = b"".join(piece for letter in house.transport.letters for piece in letter.content.body)
    assert b"450 4.2.0 mailbox is busy" in told


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


@pytest.mark.parametrize(("scope", "looks"), [(PauseScope.ALL, False), (PauseScope.SITE, True)])
async def test_what_is_accepted_while_its_lane_is_paused_is_no_reason_to_look(scope: PauseScope, looks: bool) -> None:
    house = House()
    house.memory.pauses.append(pause(scope, MX if scope is PauseScope.SITE else ""))
    message = house.letters.new(["n@example.net"]).message
    async with house.running():
        await asyncio.sleep(0.05)
        claims = house.store.claims
        house.dispatcher.wake(message)
        await asyncio.sleep(0.05)
        assert (house.store.claims > claims) is looks


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


@pytest.mark.parametrize("shared", [None, "g1"], ids=["one recipient", "a batch"])
async def test_what_was_given_back_may_be_claimed_again_before_it_is_told_so(shared: str | None) -> None:
    house = House(pace=Pace(per_site=1, first_places=1))
    gate = house.transport.gates[MX] = asyncio.Event()
    heard = house.store.gate_after_release = asyncio.Event()
    async with house.running():
        first = await house.submit("first@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        ids = await house.submit("a@example.net", *(["b@example.net"] if shared else []), shared=shared)
        await house.until(lambda: house.dispatcher.in_hand == 1 + len(ids))
        house.memory.pauses.append(pause(PauseScope.SITE, MX))
        claims = house.store.claims
        house.dispatcher.wake()
        await house.until(lambda: house.store.claims > claims)
        gate.set()
        await house.until(lambda: sorted(house.store.released) == sorted(ids))
        house.memory.pauses.clear()
        again = house.transport.gate = asyncio.Event()
        del house.transport.gates[MX]
        house.dispatcher.wake()
        await house.until(lambda: house.transport.waiting == 2)
        heard.set()
        await house.states(ids, *[State.ACTIVE] * len(ids))
        # the end of those that were given back is not the end of these
        assert house.dispatcher.in_hand == len(ids)
        again.set()
        await house.states(ids, *[State.DELIVERED] * len(ids))
        await house.until(lambda: house.dispatcher.in_hand == 0)
        assert len(house.transport.begun) == len(set(house.transport.begun)) == 1 + len(ids)
    await house.states(first, State.DELIVERED)


async def test_a_name_that_cannot_be_looked_up_is_asked_for_once_in_a_while() -> None:
    house = House()
    trouble = Reply.of(451, "4.4.3", "The domain's name servers did not answer")
    house.router.answers["example.net"] = Deferred(trouble)
    async with house.running():
        ids = await house.submit("first@example.net")
        await house.until(lambda: "domain example.net" in house.memory.rests)
        ids += await house.submit(*(f"u{number}@example.net" for number in range(50)))
        other = await house.submit("a@example.org")
        await house.states(other, State.DELIVERED)
        await house.until(lambda: house.dispatcher.in_hand == 0)
        assert sum(house.memory.rows[one].delivery.attempts for one in ids) == 1
        del house.router.answers["example.net"]
        await house.pass_time(timedelta(minutes=6))
        await house.states(ids, *[State.DELIVERED] * 51)
        await house.until(lambda: house.memory.rests == {})


async def test_a_name_that_could_not_be_looked_up_before_a_restart_is_not_asked_for_before_its_time() -> None:
    before = House()
    trouble = Deferred(Reply.of(451, "4.4.3", "The domain's name servers did not answer"))
    before.router.answers["example.net"] = trouble
    async with before.running():
        (first,) = await before.submit("first@example.net")
        await before.until(lambda: "domain example.net" in before.memory.rests)
        await before.until(lambda: before.dispatcher.in_hand == 0)
    house = House(clock=before.clock, memory=before.memory)
    house.letters = before.letters
    house.router.answers["example.net"] = trouble
    async with house.running():
        (second,) = await house.submit("second@example.net")
        other = await house.submit("a@example.org")
        await house.states(other, State.DELIVERED)
        await house.until(lambda: house.dispatcher.in_hand == 0)
        assert house.memory.rows[second].delivery.attempts == 0
        del house.router.answers["example.net"]
        await house.pass_time(timedelta(minutes=6))
        await house.states([first, second], State.DELIVERED, State.DELIVERED)
        await house.until(lambda: house.memory.rests == {})


async def test_the_rest_of_a_name_is_not_that_of_the_host_that_is_called_so() -> None:
    house = House()
    itself = "example.net"
    house.router.answers[itself] = Site(itself, (Host(itself, 25),))
    until = house.clock.now() + timedelta(minutes=30)
    house.memory.rests[itself] = SiteRest(itself, until, 3, "451 4.4.1 Connection refused")
    name = "domain example.net"
    house.memory.rests[name] = SiteRest(name, until - timedelta(minutes=20), 1, "timeout")
    gate = house.router.gates[itself] = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.pass_time(timedelta(minutes=11))
        # it is looked up again, and its host still rests
        await house.until(lambda: house.dispatcher.in_hand == 1)
        gate.set()
        await house.until(lambda: house.dispatcher.in_hand == 0)
        await house.states(ids, State.QUEUED)
        assert house.transport.begun == []
        await house.pass_time(timedelta(minutes=20))
        await house.states(ids, State.DELIVERED)


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
