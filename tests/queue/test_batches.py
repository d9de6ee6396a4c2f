"""Deliveries that share a return path go in one transaction; each has its own outcome, and is settled by itself."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.errors import StoreUnavailable
from mta.mail.address import Mailbox
from mta.mail.outcome import Bounced, Deferred
from mta.mail.reply import Reply
from mta.queue.model import State
from mta.queue.pace import Pace
from mta.queue.seams import Hold, Host, Site
from mta.queue.store import SOON
from mta.queue.window import BATCH
from mta.reputation.suppression import Cause, Origin, Suppression
from tests.fakes.house import House
from tests.fakes.world import OK, said

GREYLISTED = Reply.of(450, "4.7.1", "come back later")
UNKNOWN = Reply.of(550, "5.1.1", "no such user")
A, B, C = (f"{name}@example.net" for name in "abc")
RELAY = Site("relay:25", (Host("relay", 25, trusted=True),))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    built = House()
    async with built.running():
        yield built


def many(count: int, domain: str = "example.net") -> list[str]:
    return [f"u{number:03}@{domain}" for number in range(count)]


def named(house: House) -> list[list[str]]:
    """The recipients of each transaction, in order."""
    return [[str(one.mailbox) for one in letter.recipients] for letter in house.transport.letters]


@pytest.mark.parametrize("lease", [False, True])
async def test_deliveries_with_one_return_path_share_a_transaction(house: House, lease: bool) -> None:
    ids = await house.submit(A, B, C, shared="g1", lease=lease)
    await house.states(ids, *[State.DELIVERED] * 3)
    assert named(house) == [[A, B, C]]
    (letter,) = house.transport.letters
    assert str(letter.reverse_path) == "g1@bounces.example.com"
    assert letter.signature == b"DKIM-Signature: fake\r\n", "a report field would name one of them to all"
    assert Counter(house.notes.types) == {"delivered": 3}
    assert {event.delivery_id for event in house.notes.events} == set(ids)


async def test_no_transaction_has_more_than_fifty(house: House) -> None:
    ids = await house.submit(*many(2 * BATCH + 20), shared="g1")
    await house.states(ids, *[State.DELIVERED] * len(ids))
    assert sorted(map(len, named(house))) == [20, BATCH, BATCH]
    assert sorted(one for each in named(house) for one in each) == many(len(ids))


async def test_what_was_leased_at_acceptance_takes_its_brothers_along(house: House) -> None:
    new = house.letters.new([A, B, C], shared="g1")
    accepted = await house.store.accept(new, [], 1)
    house.dispatcher.hand_over(accepted.leased)
    ids = [one.id for one in new.deliveries]
    await house.states(ids, *[State.DELIVERED] * 3)
    assert named(house) == [[A, B, C]]


async def test_one_that_is_left_alone_has_its_own_report_field(house: House) -> None:
    ids = await house.submit(A, shared="g1")
    await house.states(ids, State.DELIVERED)
    (letter,) = house.transport.letters
    assert letter.signature.startswith(b"X-Report-Token: " + ids[0].encode())
    assert letter.others == ()


async def test_others_are_not_in_it(house: House) -> None:
    first = await house.submit(A, B, shared="g1")
    second = await house.submit(A, B, shared="g1")
    own = await house.submit(A, B)
    await house.states(first + second + own, *[State.DELIVERED] * 6)
    assert sorted(named(house)) == [[A], [A, B], [A, B], [B]]


async def test_each_has_its_own_outcome(house: House) -> None:
    house.transport.answer(A, Bounced(UNKNOWN, said(UNKNOWN)))
    house.transport.answer(B, Deferred(GREYLISTED, said(GREYLISTED)))
    ids = await house.submit(A, B, C, shared="g1")
    await house.states(ids, State.BOUNCED, State.QUEUED, State.DELIVERED)
    await house.until(lambda: len(house.transport.letters) == 2)
    dsn = house.transport.letters[1]
    assert str(dsn.recipient.mailbox) == "app@example.com"
    replies = {event.recipient: str(event.reply) for event in house.notes.events if event.attempt == 1}
    assert replies[A] == str(UNKNOWN)
    assert replies[B] == str(GREYLISTED)


async def test_what_was_deferred_together_is_tried_together_under_the_same_return_path(house: House) -> None:
    house.transport.sites["mx.example.net"] = Deferred(GREYLISTED, said(GREYLISTED))
    ids = await house.submit(*many(10), shared="g1")
    await house.until(lambda: house.notes.types.count("deferred") == 10)
    del house.transport.sites["mx.example.net"]
    due = {house.store.memory.rows[one].delivery.due_at for one in ids}
    assert max(due) - min(due) < SOON
    await house.pass_time(timedelta(minutes=6))
    await house.states(ids, *[State.DELIVERED] * 10)
    assert named(house) == [many(10)]
    assert str(house.transport.letters[0].reverse_path) == "g1@bounces.example.com"


async def test_who_is_too_many_is_sent_next_without_a_failed_attempt(house: House) -> None:
    house.transport.most_in_batch = 4
    ids = await house.submit(*many(10), shared="g1")
    await house.states(ids, *[State.DELIVERED] * 10)
    assert named(house) == [many(10), many(10)[4:], many(10)[8:]]
    assert {event.attempt for event in house.notes.events} == {1}
    assert house.notes.types == ["delivered"] * 10


async def test_a_host_that_takes_nobody_of_a_batch_and_says_nothing_does_not_go_round_for_ever(house: House) -> None:
    house.transport.most_in_batch = 0
    ids = await house.submit(A, B, shared="g1")
    await house.states(ids, State.QUEUED, State.QUEUED)
    assert Counter(house.notes.types) == {"deferred": 2}


async def test_a_batch_takes_one_place_at_its_site() -> None:
    house = House(pace=Pace(per_site=2, first_places=2))
    async with house.running():
        house.transport.gate = asyncio.Event()
        ids = await house.submit(*many(30), shared="g1")
        await house.until(lambda: house.transport.waiting == 1)
        ids += await house.submit("x@example.net")
        await house.until(lambda: house.transport.waiting == 2)
        assert house.dispatcher.in_hand == 31
        house.transport.gate.set()
        await house.states(ids, *[State.DELIVERED] * 31)


async def test_who_may_not_be_written_to_is_left_out(house: House) -> None:
    entry = Suppression("app", Mailbox.parse(B), Cause.MANUAL, Origin.OPERATOR, house.clock.now())
    house.store.memory.suppressions["app", B] = entry
    ids = await house.submit(A, B, C, shared="g1")
    await house.states(ids, State.DELIVERED, State.SUPPRESSED, State.DELIVERED)
    assert named(house)[0] == [A, C]


async def test_a_batch_of_a_suspended_account_is_held(house: House) -> None:
    house.suspensions.suspend("app", "transactional", "too many bounces")
    ids = await house.submit(A, B, shared="g1")
    await house.states(ids, State.HELD, State.HELD)
    assert house.transport.begun == []


async def test_a_batch_without_a_key_is_held(house: House) -> None:
    house.sealer.refusal = "no key"
    ids = await house.submit(A, B, shared="g1")
    await house.states(ids, State.HELD, State.HELD)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Hold("kept"), State.HELD),
        (Bounced(UNKNOWN), State.BOUNCED),
        (Deferred(GREYLISTED), State.QUEUED),
    ],
)
async def test_a_batch_without_a_way_shares_its_fate(
    house: House, answer: Hold | Bounced | Deferred, state: State
) -> None:
    house.router.answers["example.net"] = answer
    ids = await house.submit(A, B, shared="g1")
    await house.states(ids, state, state)
    assert [one for one in house.transport.begun if one in (A, B)] == []


async def test_an_error_of_our_own_defers_all_of_them(house: House) -> None:
    house.transport.answer(A, RuntimeError("a bug"))
    ids = await house.submit(A, B, shared="g1")
    await house.states(ids, State.QUEUED, State.QUEUED)
    assert house.notes.types == ["deferred", "deferred"]


async def test_damaged_octets_hold_all_of_them(house: House) -> None:
    new = house.letters.new([A, B], shared="g1")
    await house.store.accept(replace(new, message=replace(new.message, checksum=b"other")), [])
    house.dispatcher.wake()
    await house.states([one.id for one in new.deliveries], State.HELD, State.HELD)


async def test_domains_share_a_transaction_at_a_relay(house: House) -> None:
    for domain in ("example.net", "example.org"):
        house.router.answers[domain] = RELAY
    ids = await house.submit(A, "a@example.org", B, shared="g1")
    await house.states(ids, *[State.DELIVERED] * 3)
    assert named(house) == [[A, "a@example.org", B]]


@pytest.mark.parametrize("trusted", [False, True])
async def test_domains_share_no_transaction_where_a_host_may_have_to_prove_different_things(
    house: House, trusted: bool
) -> None:
    """What was put together for a relay, and goes elsewhere now: routes were changed since it was accepted."""
    same = Site("mx", (Host("mx.example.com", 25, trusted=trusted),))
    house.router.answers["example.net"] = same
    house.router.answers["example.org"] = RELAY if trusted else same
    ids = await house.submit(A, "a@example.org", B, "b@example.org", shared="g1")
    await house.states(ids, *[State.DELIVERED] * 4)
    assert sorted(named(house)) == [[A, B], ["a@example.org", "b@example.org"]]


async def test_a_batch_that_is_dropped_at_a_stop_is_given_back_whole() -> None:
    house = House()
    async with house.running():
        house.transport.gate = asyncio.Event()
        ids = await house.submit(*many(5), shared="g1")
        await house.until(lambda: house.transport.waiting == 1)
        stopping = asyncio.create_task(house.dispatcher.stop(timedelta(seconds=30)))
        await asyncio.sleep(0)
        house.transport.gate.set()
        await stopping
    await house.states(ids, *[State.QUEUED] * 5)
    assert house.notes.events == []


async def test_a_stop_waits_for_a_batch_behind_its_dot() -> None:
    house = House()
    async with house.running():
        house.transport.gate_after_dot = asyncio.Event()
        ids = await house.submit(*many(5), shared="g1")
        await house.until(lambda: house.transport.waiting == 1)
        stopping = asyncio.create_task(house.dispatcher.stop(timedelta(seconds=30)))
        await asyncio.sleep(0)
        house.transport.gate_after_dot.set()
        await stopping
    await house.states(ids, *[State.DELIVERED] * 5)


async def test_a_stop_between_two_transactions_loses_nothing_of_the_first() -> None:
    house = House()
    async with house.running():
        house.transport.most_in_batch = 3
        house.transport.gate_after_dot = asyncio.Event()
        ids = await house.submit(*many(5), shared="g1")
        await house.until(lambda: house.transport.waiting == 1)
        stopping = asyncio.create_task(house.dispatcher.stop(timedelta(seconds=30)))
        await asyncio.sleep(0)
        house.transport.gate_after_dot.set()
        await stopping
    await house.states(ids, *[State.DELIVERED] * 3, State.QUEUED, State.QUEUED)
    assert named(house) == [many(5)]
    assert {house.store.memory.rows[one].delivery.attempts for one in ids[3:]} == {0}


async def test_a_lease_lost_before_the_dot_drops_the_batch_and_fails_nobody(house: House) -> None:
    house.transport.gate = asyncio.Event()
    ids = await house.submit(*many(3), shared="g1")
    await house.until(lambda: house.transport.waiting == 1)
    house.clock.advance(house.store.lease)
    lost = house.store.memory.rows[ids[1]]
    lost.owner, lost.lease_until = 77, house.clock.now() + timedelta(hours=1)
    house.transport.gate.set()
    await house.states(ids, State.DELIVERED, State.ACTIVE, State.DELIVERED)
    assert named(house) == [[many(3)[0], many(3)[2]]]
    assert house.notes.types == ["delivered", "delivered"]
    assert {event.attempt for event in house.notes.events} == {1}


async def test_what_a_host_said_is_kept_for_each_while_the_store_fails(house: House) -> None:
    house.transport.gate_after_dot = asyncio.Event()
    house.transport.answer(B, Bounced(UNKNOWN, said(UNKNOWN)))
    ids = await house.submit(A, B, C, shared="g1")
    await house.until(lambda: house.transport.waiting == 1)
    house.store.read_only = StoreUnavailable("full")
    house.transport.gate_after_dot.set()
    await house.until(lambda: house.store.refusals >= 3)
    house.store.read_only = None
    await house.states(ids, State.DELIVERED, State.BOUNCED, State.DELIVERED)
    assert named(house)[0] == [A, B, C]
    assert len([one for one in named(house) if A in one]) == 1


async def test_a_site_that_rests_has_the_batch_when_it_is_over(house: House) -> None:
    house.transport.sites["mx.example.net"] = Deferred(
        GREYLISTED, tuple(replace(one, stage="connect", remote=False) for one in said(GREYLISTED))
    )
    await house.submit("x@example.net")
    await house.until(lambda: "deferred" in house.notes.types)
    ids = await house.submit(A, B, shared="g1")
    del house.transport.sites["mx.example.net"]
    await house.pass_time(timedelta(minutes=2))
    await house.states(ids, State.DELIVERED, State.DELIVERED)
    assert [A, B] in named(house)


async def test_the_events_of_a_batch_tell_site_and_host_as_any(house: House) -> None:
    ids = await house.submit(A, B, shared="g1")
    await house.states(ids, State.DELIVERED, State.DELIVERED)
    assert all(event.tries == said(OK, "dot") and event.site == "mx.example.net" for event in house.notes.events)
