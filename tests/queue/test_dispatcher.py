"""The dispatcher against the memory store and a scripted world; time is moved by hand."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.errors import StoreUnavailable
from mta.mail import failures
from mta.mail.address import Mailbox
from mta.mail.envelope import Notify
from mta.mail.outcome import Bounced, Deferred, Delivered
from mta.mail.reply import Reply
from mta.queue.model import State, Stream
from mta.queue.pace import Pace
from mta.queue.seams import Hold
from mta.reputation.suppression import Cause, Origin, Suppression
from tests.fakes.house import House
from tests.fakes.letters import HEADER
from tests.fakes.memory_store import MemoryStore
from tests.fakes.world import said

GREYLISTED = Reply.of(450, "4.7.1", "come back later")
UNKNOWN = Reply.of(550, "5.1.1", "no such user")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    built = House()
    async with built.running():
        yield built


async def test_a_delivery_that_is_due_is_delivered_stamped_signed_and_under_its_own_return_path(house: House) -> None:
    ids = await house.submit("a@example.net")
    await house.states(ids, State.DELIVERED)
    (letter,) = house.transport.letters
    # the report field is on top: no signature covers it
    assert letter.signature == f"X-Report-Token: {ids[0]}\r\nDKIM-Signature: fake\r\n".encode()
    assert str(letter.reverse_path) == f"b{ids[0]}@bounces.example.com"
    assert letter.content.header == HEADER
    assert house.notes.types == ["delivered"]


async def test_a_delivery_handed_over_at_acceptance_is_not_claimed_again(house: House) -> None:
    ids = await house.submit("a@example.net", "b@example.net", lease=True)
    await house.states(ids, State.DELIVERED, State.DELIVERED)
    assert sorted(house.transport.recipients) == ["a@example.net", "b@example.net"]


async def test_only_the_greylisted_recipient_is_tried_again(house: House) -> None:
    house.transport.answer("b@example.net", Deferred(GREYLISTED, said(GREYLISTED)))
    ids = await house.submit("a@example.net", "b@example.net")
    await house.states(ids, State.DELIVERED, State.QUEUED)
    await house.pass_time(timedelta(minutes=4))
    await asyncio.sleep(0.05)
    assert house.transport.recipients.count("b@example.net") == 1
    await house.pass_time(timedelta(minutes=2))
    await house.states(ids, State.DELIVERED, State.DELIVERED)
    assert house.transport.recipients.count("a@example.net") == 1
    assert [event.attempt for event in house.notes.events if event.recipient == "b@example.net"] == [1, 2]


async def test_a_permanent_refusal_comes_back_as_a_dsn_from_the_null_reverse_path(house: House) -> None:
    house.transport.answer("a@example.net", Bounced(UNKNOWN, said(UNKNOWN)))
    ids = await house.submit("a@example.net")
    await house.states(ids, State.BOUNCED)
    await house.until(lambda: len(house.transport.letters) == 2)
    dsn = house.transport.letters[1]
    assert dsn.reverse_path is None
    assert str(dsn.recipient.mailbox) == "app@example.com"
    assert b"550 5.1.1 no such user" in b"".join(dsn.content.body)
    assert b"Subject: Hello" in b"".join(dsn.content.body)


async def test_nobody_is_told_of_mail_from_the_null_reverse_path(house: House) -> None:
    house.transport.answer("a@example.net", Bounced(UNKNOWN, said(UNKNOWN)))
    ids = await house.submit("a@example.net", sender="")
    await house.states(ids, State.BOUNCED)
    assert len(house.memory.messages) == 1


async def test_a_dsn_that_cannot_be_delivered_is_no_reason_for_another(house: House) -> None:
    house.transport.answer("a@example.net", Bounced(UNKNOWN, said(UNKNOWN)))
    house.transport.answer("app@example.com", Bounced(UNKNOWN, said(UNKNOWN)))
    await house.submit("a@example.net")
    await house.until(lambda: house.notes.types.count("bounced") == 2)
    assert len(house.memory.messages) == 2


async def test_a_late_delivery_is_told_of_once_and_goes_on(house: House) -> None:
    house.transport.answer("a@example.net", *[Deferred(GREYLISTED, said(GREYLISTED))] * 3)
    ids = await house.submit("a@example.net")
    await house.until(lambda: house.notes.types == ["deferred"])
    await house.pass_time(timedelta(hours=5))
    await house.until(lambda: "delayed_notice" in house.notes.types)
    await house.pass_time(timedelta(hours=1))
    await house.until(lambda: house.notes.types.count("deferred") == 3)
    await house.pass_time(timedelta(hours=1))
    await house.states(ids, State.DELIVERED)
    assert house.notes.types.count("delayed_notice") == 1


async def test_a_delivery_whose_time_is_over_expires_for_the_reason_that_was_heard_last(house: House) -> None:
    house.transport.answer("a@example.net", Deferred(GREYLISTED, said(GREYLISTED)))
    ids = await house.submit("a@example.net")
    await house.until(lambda: house.notes.types == ["deferred"])
    await house.pass_time(timedelta(days=2))
    await house.states(ids, State.EXPIRED)
    await house.until(lambda: "app@example.com" in house.transport.recipients)
    assert house.transport.recipients.count("a@example.net") == 1
    assert house.notes.events[1].reply == GREYLISTED
    assert b"450 4.7.1 come back later" in b"".join(house.transport.letters[1].content.body)


async def test_mail_without_a_key_is_held_with_the_remedy(house: House) -> None:
    house.sealer.refusal = "no DKIM key for example.com"
    ids = await house.submit("a@example.net")
    await house.states(ids, State.HELD)
    await house.until(lambda: house.notes.types == ["held"])
    assert house.notes.events[0].detail["reason"] == "no DKIM key for example.com"


async def test_a_hold_route_keeps_mail_without_an_attempt(house: House) -> None:
    house.router.answers["example.net"] = Hold("route example.net: hold = true")
    ids = await house.submit("a@example.net")
    await house.states(ids, State.HELD)
    assert house.transport.letters == []


async def test_a_domain_that_does_not_exist_bounces_without_a_host(house: House) -> None:
    house.router.answers["example.net"] = Bounced(Reply.of(550, "5.1.2", "no such domain"))
    ids = await house.submit("a@example.net")
    await house.states(ids, State.BOUNCED)


async def test_an_unexpected_exception_defers_one_delivery_and_ends_nothing_else(house: House) -> None:
    house.transport.answer("a@example.net", RuntimeError("a bug"))
    first = await house.submit("a@example.net")
    await house.states(first, State.QUEUED)
    await house.until(lambda: house.notes.types == ["deferred"])
    second = await house.submit("b@example.net")
    await house.states(second, State.DELIVERED)


async def test_damaged_octets_are_held_and_never_sent(house: House) -> None:
    new = house.letters.new(["a@example.net"])
    await house.store.accept(new, [])
    house.memory.contents[new.message.id] = type(new.content)(HEADER, (b"Something else.\r\n",))
    house.dispatcher.wake()
    await house.states([new.deliveries[0].id], State.HELD)
    assert house.transport.letters == []


async def test_a_store_that_fails_pauses_delivery_and_loses_nothing(house: House) -> None:
    house.store.failure = StoreUnavailable("disk on fire")
    house.dispatcher.wake()
    await asyncio.sleep(0.05)
    house.store.failure = None
    ids = await house.submit("a@example.net")
    await house.states(ids, State.DELIVERED)


async def test_what_a_host_said_is_written_down_once_the_store_can_and_is_not_asked_again(house: House) -> None:
    house.transport.gate = asyncio.Event()
    ids = await house.submit("a@example.net")
    await house.until(lambda: house.transport.waiting == 1)
    house.store.failure = StoreUnavailable("disk full")
    house.transport.gate.set()
    await house.until(lambda: len(house.transport.letters) == 1)
    await asyncio.sleep(0.05)
    house.store.failure = None
    await house.states(ids, State.DELIVERED)
    assert len(house.transport.letters) == 1


async def test_no_more_than_its_share_of_connections_goes_to_one_site() -> None:
    house = House(pace=Pace(per_site=3))
    house.transport.gate = asyncio.Event()
    async with house.running():
        ids = await house.submit(*(f"u{i}@example.net" for i in range(10)))
        await house.until(lambda: house.transport.waiting == 3)
        await asyncio.sleep(0.02)
        assert house.transport.most_at_once == 3
        house.transport.gate.set()
        await house.states(ids, *[State.DELIVERED] * 10)


async def test_a_site_that_hangs_keeps_few_in_hand_and_the_rest_stays_in_the_store() -> None:
    house = House(pace=Pace(per_site=20, first_places=4, batch=10))
    house.transport.gates["mx.example.net"] = asyncio.Event()
    async with house.running():
        stuck = await house.submit(*(f"u{i}@example.net" for i in range(60)))
        await house.until(lambda: house.transport.waiting == 4)
        free = await house.submit(*(f"u{i}@example.org" for i in range(60)))
        await house.states(free, *[State.DELIVERED] * 60)
        # as many as it has places, and twice as many that wait
        await house.until(lambda: house.dispatcher.in_hand <= 12)
        house.transport.gates["mx.example.net"].set()
        await house.states(stuck, *[State.DELIVERED] * 60)


async def test_stopping_drops_what_has_not_sent_its_dot_and_gives_its_lease_back() -> None:
    house = House()
    house.transport.gate = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        await house.dispatcher.stop(timedelta(seconds=5))
    assert house.store.state_of(ids[0]) is State.QUEUED
    assert house.transport.letters == []


async def test_an_attempt_that_comes_to_its_dot_while_stopping_is_no_failed_one() -> None:
    house = House()
    house.transport.gate = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        stopping = asyncio.create_task(house.dispatcher.stop(timedelta(seconds=5)))
        # before anything is cancelled: both come with the same turn of the loop
        house.transport.gate.set()
        await stopping
    assert house.store.state_of(ids[0]) is State.QUEUED
    assert house.notes.types == []


async def test_what_is_handed_over_while_stopping_is_given_back() -> None:
    house = House()
    async with house.running():
        await house.dispatcher.stop(timedelta(seconds=5))
        new = house.letters.new(["a@example.net"])
        accepted = await house.store.accept(new, [], 1)
        house.dispatcher.hand_over(accepted.leased)
        await house.dispatcher.give_back_late()
        assert house.store.state_of(new.deliveries[0].id) is State.QUEUED
    assert house.transport.begun == []


async def test_stopping_waits_for_the_reply_to_a_dot_and_writes_it_down() -> None:
    house = House()
    house.transport.gate_after_dot = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        stopping = asyncio.create_task(house.dispatcher.stop(timedelta(seconds=5)))
        await asyncio.sleep(0.02)
        assert not stopping.done()
        house.transport.gate_after_dot.set()
        await stopping
    assert house.store.state_of(ids[0]) is State.DELIVERED


async def test_what_is_in_doubt_at_the_end_of_the_grace_is_named(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.transport.gate_after_dot = asyncio.Event()
    async with house.running():
        await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        await house.dispatcher.stop(timedelta(milliseconds=20))
    assert "in doubt at stop" in caplog.text
    assert "a@example.net" in caplog.text


async def test_an_attempt_whose_lease_was_taken_drops_before_the_dot() -> None:
    house = House()
    house.transport.gate = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        house.clock.advance(timedelta(seconds=61))
        other = MemoryStore(house.clock, memory=house.memory)
        (taken,) = await other.claim(10)
        house.transport.gate.set()
        await house.until(lambda: house.dispatcher.in_hand == 0)
    assert taken.delivery.id == ids[0]
    assert house.transport.letters == []
    assert house.notes.types == []


async def test_a_lapsed_lease_that_we_claim_again_starts_no_second_attempt() -> None:
    house = House()
    house.transport.gate = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        await house.pass_time(timedelta(seconds=61))
        await asyncio.sleep(0.05)
        assert house.transport.waiting == 1
        house.transport.gate.set()
        await house.states(ids, State.DELIVERED)
    assert len(house.transport.letters) == 1


async def test_a_lease_that_ran_out_unnoticed_is_renewed_before_the_dot() -> None:
    house = House()
    house.transport.gate = asyncio.Event()
    async with house.running():
        ids = await house.submit("a@example.net")
        await house.until(lambda: house.transport.waiting == 1)
        house.clock.advance(timedelta(seconds=61))
        house.transport.gate.set()
        await house.states(ids, State.DELIVERED)
    assert len(house.transport.letters) == 1


@pytest.mark.parametrize(("will_notify", "notices"), [(True, 0), (False, 1)])
async def test_who_asked_to_hear_of_success_hears_that_a_host_without_dsn_took_it(
    house: House, will_notify: bool, notices: int
) -> None:
    new = house.letters.new(["a@example.net"])
    asked = replace(new.deliveries[0].recipient, notify=frozenset({Notify.SUCCESS}))
    new = replace(new, deliveries=(replace(new.deliveries[0], recipient=asked),))
    ok = Reply.of(250, "2.0.0", "Ok")
    house.transport.answer("a@example.net", Delivered(ok, said(ok, "dot"), will_notify))
    await house.store.accept(new, [])
    house.dispatcher.wake()
    await house.states([new.deliveries[0].id], State.DELIVERED)
    await house.until(lambda: house.dispatcher.in_hand == 0)
    assert len(house.memory.messages) == 1 + notices
    for letter in house.transport.letters[1:]:
        assert b"Action: relayed" in b"".join(letter.content.body)


# who is not written to


def listed(house: House, address: str, expires_after: timedelta | None = None) -> None:
    """Put an address on the list of the account."""
    now = house.clock.now()
    expires_at = None if expires_after is None else now + expires_after
    entry = Suppression("app", Mailbox.parse(address), Cause.COMPLAINT, Origin.FEEDBACK, now, expires_at)
    house.memory.suppressions["app", address] = entry


async def test_a_suppressed_recipient_is_never_attempted_and_the_submitter_hears_why(house: House) -> None:
    listed(house, "a@example.net")
    ids = await house.submit("a@example.net")
    await house.states(ids, State.SUPPRESSED)
    await house.until(lambda: house.transport.recipients == ["app@example.com"])
    assert house.notes.types[0] == "suppressed"
    assert house.notes.events[0].attempt is None
    dsn = b"".join(house.transport.letters[0].content.body)
    assert b"Recipient suppressed: its owner complained on 2026-11-22" in dsn.replace(b"\r\n    ", b" ")


async def test_an_address_that_comes_onto_the_list_while_its_mail_waits_is_not_attempted_again(house: House) -> None:
    house.transport.answer("a@example.net", Deferred(GREYLISTED, said(GREYLISTED)))
    ids = await house.submit("a@example.net")
    await house.until(lambda: house.notes.types == ["deferred"])
    listed(house, "a@example.net")
    await house.pass_time(timedelta(minutes=6))
    await house.states(ids, State.SUPPRESSED)
    assert house.transport.recipients.count("a@example.net") == 1


async def test_an_entry_that_has_ended_stands_in_nobodys_way(house: House) -> None:
    listed(house, "a@example.net", expires_after=timedelta(days=1))
    house.clock.advance(timedelta(days=1))
    ids = await house.submit("a@example.net")
    await house.states(ids, State.DELIVERED)


async def test_a_hard_bounce_puts_the_recipient_on_the_list(house: House) -> None:
    house.transport.answer("a@example.net", Bounced(UNKNOWN, said(UNKNOWN)))
    ids = await house.submit("a@example.net")
    await house.until(lambda: "suppression_added" in house.notes.types)
    bounced, _, added = house.notes.events[:3]
    assert (bounced.type, bounced.klass, bounced.hardness) == ("bounced", "bad_mailbox", "hard")
    assert (added.type, added.recipient, added.delivery_id) == ("suppression_added", "a@example.net", ids[0])
    assert added.detail["reason"] == "550 5.1.1 no such user"
    again = await house.submit("a@example.net")
    await house.states(again, State.SUPPRESSED)


async def test_what_is_on_the_list_already_is_not_announced_again(house: House) -> None:
    house.transport.gate = asyncio.Event()
    house.transport.answer("a@example.net", *[Bounced(UNKNOWN, said(UNKNOWN))] * 2)
    ids = [*await house.submit("a@example.net"), *await house.submit("a@example.net")]
    await house.until(lambda: house.transport.waiting == 2)
    house.transport.gate.set()
    await house.states(ids, State.BOUNCED, State.BOUNCED)
    await house.until(lambda: house.notes.types.count("bounced") == 2)
    assert house.notes.types.count("suppression_added") == 1


async def test_a_refusal_that_speaks_of_our_reputation_at_mail_is_tried_again(house: House) -> None:
    blocked = Reply.of(550, "5.7.1", "Your IP address 192.0.2.1 is blocked due to poor reputation, see spamhaus")
    house.transport.answer("a@example.net", Bounced(blocked, said(blocked, "mail")))
    ids = await house.submit("a@example.net")
    await house.until(lambda: house.notes.types == ["deferred"])
    assert house.notes.events[0].klass == "reputation"
    await house.pass_time(timedelta(minutes=6))
    await house.states(ids, State.DELIVERED)
    assert house.memory.suppressions == {}


async def test_a_domain_that_is_gone_bounces_at_once_and_suppresses_when_it_is_still_gone_a_day_later(
    house: House,
) -> None:
    house.router.answers["example.net"] = Bounced(failures.NO_SUCH_DOMAIN)
    for hours in (0, 23):
        house.clock.advance(timedelta(hours=hours))
        ids = await house.submit("a@example.net")
        await house.states(ids, State.BOUNCED)
    assert house.memory.suppressions == {}
    house.clock.advance(timedelta(hours=1))
    await house.submit("a@example.net")
    await house.until(lambda: "suppression_added" in house.notes.types)


async def test_a_suspended_streams_mail_is_held_with_the_reason_and_nobody_elses(house: House) -> None:
    house.suspensions.suspend("app", "bulk", "hard bounces are 10.0%")
    new = house.letters.new(["a@example.net"], stream=Stream.BULK)
    await house.store.accept(new, [])
    free = await house.submit("b@example.net")
    await house.states([new.deliveries[0].id, *free], State.HELD, State.DELIVERED)
    (held,) = [event for event in house.notes.events if event.type == "held"]
    assert held.detail["reason"] == "suspended: hard bounces are 10.0%"
    assert house.transport.recipients == ["b@example.net"]


async def test_a_clients_own_mail_from_the_null_reverse_path_is_held_and_suppresses_like_any_other(
    house: House,
) -> None:
    new = house.letters.new(["a@example.net"], sender="", from_domain="example.com")
    house.transport.answer("a@example.net", Bounced(UNKNOWN, said(UNKNOWN)))
    await house.store.accept(new, [])
    house.dispatcher.wake()
    await house.states([new.deliveries[0].id], State.BOUNCED)
    await house.until(lambda: "suppression_added" in house.notes.types)
    house.suspensions.suspend("app", "transactional", "an operator said so")
    later = house.letters.new(["b@example.net"], sender="", from_domain="example.com")
    await house.store.accept(later, [])
    house.dispatcher.wake()
    await house.states([later.deliveries[0].id], State.HELD)


async def test_what_we_have_to_tell_a_suspended_account_is_not_held(house: House) -> None:
    house.suspensions.suspend("app", "transactional", "an operator said so")
    ids = await house.submit("app@example.com", sender="")
    await house.states(ids, State.DELIVERED)
    (letter,) = house.transport.letters
    assert letter.signature == b"DKIM-Signature: fake\r\n"
