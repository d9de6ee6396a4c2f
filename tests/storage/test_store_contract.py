"""What every store promises, run against each of them. Two stores on one medium are two workers."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.errors import Damaged, StoreUnavailable
from mta.events import EventType
from mta.mail.address import Mailbox
from mta.mail.envelope import BodyType, Notify, Recipient, Return
from mta.queue.model import MOVES, Delivery, NewMessage, State, Stream
from mta.queue.settle import Settled, Settlement
from mta.queue.store import Accepted, Store
from tests.fakes.letters import BODY, HEADER
from tests.storage.rig import EVENT_OF, LATER, OK, Rig, settled, types


async def ids_claimed(store: Store, limit: int = 10, passing: tuple[str, ...] = ()) -> list[str]:
    return [one.delivery.id for one in await store.claim(limit, passing)]


async def test_what_is_accepted_is_due_at_once_and_claimed_as_it_came(rig: Rig) -> None:
    new = await rig.accept("a@example.net")
    (claimed,) = await rig.store.claim(10)
    assert claimed.message == new.message
    assert claimed.delivery == replace(new.deliveries[0], state=State.ACTIVE)
    assert claimed.lease_until == rig.clock.now() + rig.store.lease


async def test_every_field_of_a_message_and_a_delivery_is_kept(rig: Rig) -> None:
    new = rig.letters.new(["a@example.net"])
    later = rig.clock.now() + timedelta(days=1)
    message = replace(
        new.message,
        stream=Stream.BULK,
        topic="news",
        tag="autumn",
        pool="main",
        metadata='{"a": 1}',
        body_type=BodyType.EIGHT_BIT,
        smtputf8=True,
        requiretls=True,
        ret=Return.HEADERS,
        envid="envelope 1",
        release_at=rig.clock.now(),
        expires_at=later,
    )
    recipient = Recipient(Mailbox('"a@b"', "example.net"), frozenset({Notify.SUCCESS}), "rfc822;käse@example.net")
    delivery = Delivery(
        rig.letters.ids.next(),
        message.id,
        recipient,
        State.QUEUED,
        rig.clock.now(),
        return_path=None,
        attempts=3,
        site="mx.example.net",
        source="a",
        held_for=timedelta(hours=1),
        delay_noticed=True,
    )
    await rig.store.accept(NewMessage(message, (delivery,), new.content), [])
    (claimed,) = await rig.store.claim(1)
    assert (claimed.message, claimed.delivery) == (message, replace(delivery, state=State.ACTIVE))


async def test_acceptance_leases_as_many_deliveries_as_asked_with_the_content_at_hand(rig: Rig) -> None:
    new = rig.letters.new(["a@example.net", "b@example.net", "c@example.net"])
    accepted = await rig.store.accept(new, [], lease=2)
    assert accepted.queue_id == new.message.id
    assert [one.delivery.id for one in accepted.leased] == [one.id for one in new.deliveries[:2]]
    assert all(one.content == new.content and one.delivery.state is State.ACTIVE for one in accepted.leased)
    assert await ids_claimed(rig.store) == [new.deliveries[2].id]


async def test_a_delivery_that_is_not_due_is_neither_leased_nor_claimed_before_its_time(rig: Rig) -> None:
    new = rig.letters.new(["a@example.net"])
    later = replace(new.deliveries[0], due_at=rig.clock.now() + timedelta(hours=1))
    accepted = await rig.store.accept(replace(new, deliveries=(later,)), [], lease=1)
    assert (accepted.leased, await rig.store.claim(1)) == ((), [])
    rig.clock.advance(3600)
    assert await ids_claimed(rig.store) == [later.id]


@pytest.mark.parametrize("state", [State.HELD, State.SUPPRESSED])
async def test_a_delivery_that_begins_held_or_suppressed_is_never_claimed(rig: Rig, state: State) -> None:
    new = rig.letters.new(["a@example.net", "b@example.net"])
    kept = replace(new.deliveries[0], state=state, hold_reason="policy" if state is State.HELD else None)
    accepted = await rig.store.accept(replace(new, deliveries=(kept, new.deliveries[1])), [], lease=2)
    assert [one.delivery.id for one in accepted.leased] == [new.deliveries[1].id]
    assert await rig.store.claim(10) == []


@pytest.mark.parametrize("state", [State.ACTIVE, State.DELIVERED, State.BOUNCED, State.EXPIRED, State.CANCELLED])
async def test_no_delivery_begins_in_another_state_and_nothing_is_written(rig: Rig, state: State) -> None:
    new = rig.letters.new(["a@example.net"])
    with pytest.raises(ValueError, match="cannot begin"):
        await rig.store.accept(replace(new, deliveries=(replace(new.deliveries[0], state=state),)), [])
    with pytest.raises(Damaged):
        await rig.store.content(new.message.id)


async def test_an_id_that_is_there_already_is_refused_and_the_first_message_stays(rig: Rig) -> None:
    new = await rig.accept()
    with pytest.raises(StoreUnavailable):
        await rig.store.accept(new, [])
    assert await ids_claimed(rig.store) == [new.deliveries[0].id]


async def test_claims_come_oldest_due_first_and_not_more_than_the_limit(rig: Rig) -> None:
    ids = []
    for _ in range(3):
        ids.append((await rig.accept()).deliveries[0].id)
        rig.clock.advance(1)
    assert [await ids_claimed(rig.store, 2), await ids_claimed(rig.store, 2), await ids_claimed(rig.store)] == [
        ids[:2],
        ids[2:],
        [],
    ]
    assert await rig.store.claim(0) == []


async def test_domains_with_no_room_are_passed_over(rig: Rig) -> None:
    new = await rig.accept("a@full.example", "b@example.net", "c@full.example")
    assert await ids_claimed(rig.store, 10, ("full.example",)) == [new.deliveries[1].id]
    assert await ids_claimed(rig.store) == [new.deliveries[0].id, new.deliveries[2].id]


async def test_passing_over_a_long_line_still_finds_what_stands_behind_it(rig: Rig) -> None:
    crowd = await rig.accept(*(f"u{number}@full.example" for number in range(2500)))
    rig.clock.advance(1)
    last = await rig.accept("b@example.net")
    assert await ids_claimed(rig.store, 10, ("full.example",)) == [last.deliveries[0].id]
    # and what comes later, or is given back in front, is found again
    newer = await rig.accept("c@example.net")
    assert await ids_claimed(rig.store, 10, ("full.example",)) == [newer.deliveries[0].id]
    await rig.store.release([last.deliveries[0].id])
    assert await ids_claimed(rig.store, 10, ("full.example", "other.example")) == [last.deliveries[0].id]
    assert await ids_claimed(rig.store, 1, ("other.example",)) == [crowd.deliveries[0].id]


async def test_a_lapsed_lease_is_for_anybody_to_take_and_the_first_owner_cannot_settle(rig: Rig) -> None:
    first = await rig.claimed()
    other = await rig.open()
    assert other.worker != rig.store.worker
    rig.clock.advance(rig.store.lease - timedelta(seconds=1))
    assert await other.claim(1) == []
    rig.clock.advance(1)
    (second,) = await other.claim(1)
    assert second.delivery == first.delivery
    late = settled(first, State.DELIVERED)
    assert await rig.store.settle(replace(late, events=(rig.event(rig.letters.new()),))) is None
    assert await other.settle(settled(second, State.DELIVERED)) is not None


async def test_a_lapsed_lease_of_a_domain_with_no_room_is_passed_over(rig: Rig) -> None:
    claimed = await rig.claimed()
    rig.clock.advance(rig.store.lease)
    assert await rig.store.claim(1, ["example.net"]) == []
    assert await ids_claimed(rig.store) == [claimed.delivery.id]


async def test_a_lease_that_is_extended_in_time_is_kept(rig: Rig) -> None:
    claimed = await rig.claimed()
    other = await rig.open()
    rig.clock.advance(50)
    assert await rig.store.extend([claimed.delivery.id]) == {claimed.delivery.id}
    rig.clock.advance(50)
    assert await other.claim(1) == []


async def test_only_leases_of_ones_own_are_extended(rig: Rig) -> None:
    mine = await rig.claimed()
    other = await rig.open()
    assert await other.extend([mine.delivery.id]) == frozenset()
    assert await rig.store.extend([mine.delivery.id, "nothing"]) == {mine.delivery.id}
    assert await rig.store.extend([]) == frozenset()
    await rig.store.settle(settled(mine, State.DELIVERED))
    assert await rig.store.extend([mine.delivery.id]) == frozenset()


async def test_released_deliveries_are_due_at_once_without_an_attempt_counted(rig: Rig) -> None:
    claimed = await rig.claimed()
    await rig.store.release([claimed.delivery.id])
    (again,) = await rig.store.claim(1)
    assert (again.delivery.id, again.delivery.attempts) == (claimed.delivery.id, 0)


async def test_another_workers_lease_is_not_released(rig: Rig) -> None:
    claimed = await rig.claimed()
    other = await rig.open()
    await other.release([claimed.delivery.id])
    assert await other.claim(1) == []


async def test_a_deferred_delivery_waits_and_keeps_what_is_known_of_it(rig: Rig) -> None:
    claimed = await rig.claimed()
    await rig.store.settle(
        settled(claimed, State.QUEUED, retry_in=timedelta(minutes=5), site="mx.example.net", delay_noticed=True)
    )
    rig.clock.advance(299)
    assert await rig.store.claim(1) == []
    rig.clock.advance(1)
    (again,) = await rig.store.claim(1)
    assert (again.delivery.attempts, again.delivery.site, again.delivery.delay_noticed) == (1, "mx.example.net", True)


async def test_each_attempt_counts_but_setting_aside_does_not(rig: Rig) -> None:
    claimed = await rig.claimed()
    for attempted, count in ((True, 1), (False, 1), (True, 2)):
        await rig.store.settle(settled(claimed, State.QUEUED, retry_in=timedelta(0), attempted=attempted))
        (claimed,) = await rig.store.claim(1)
        assert claimed.delivery.attempts == count


@pytest.mark.parametrize("state", sorted(MOVES[State.ACTIVE] - {State.QUEUED}))
async def test_what_is_settled_otherwise_is_not_attempted_again(rig: Rig, state: State) -> None:
    claimed = await rig.claimed()
    assert await rig.store.settle(settled(claimed, state)) is not None
    assert await rig.store.settle(settled(claimed, state)) is None
    rig.clock.advance(timedelta(days=1))
    assert await rig.store.claim(1) == []


async def test_a_move_that_does_not_exist_is_refused_and_the_lease_stands(rig: Rig) -> None:
    claimed = await rig.claimed()
    active = Settlement(claimed, State.ACTIVE, OK, EventType.DELIVERED)
    with pytest.raises(ValueError, match="cannot go from active to active"):
        await rig.store.settle(Settled(active, ()))
    assert await rig.store.extend([claimed.delivery.id]) == {claimed.delivery.id}


async def test_a_dsn_is_written_with_the_settlement_that_causes_it(rig: Rig) -> None:
    claimed = await rig.claimed()
    dsn = rig.letters.new(["app@example.com"], sender="")
    assert await rig.store.settle(replace(settled(claimed, State.BOUNCED), dsn=dsn)) is not None
    (letter,) = await rig.store.claim(1)
    assert letter.message == dsn.message
    assert letter.message.reverse_path.is_null
    assert await rig.store.content(dsn.message.id) == dsn.content


async def test_a_lost_lease_writes_no_dsn(rig: Rig) -> None:
    claimed = await rig.claimed()
    rig.clock.advance(rig.store.lease)
    other = await rig.open()
    await other.claim(1)
    dsn = rig.letters.new(["app@example.com"], sender="")
    assert await rig.store.settle(replace(settled(claimed, State.BOUNCED), dsn=dsn)) is None
    assert await rig.store.claim(10) == []


async def test_octets_are_there_until_the_last_delivery_is_final(rig: Rig) -> None:
    new = await rig.accept("a@example.net", "b@example.net")
    first, second = await rig.store.claim(2)
    await rig.store.settle(settled(first, State.DELIVERED))
    assert await rig.store.content(new.message.id) == new.content
    await rig.store.settle(settled(second, State.BOUNCED))
    with pytest.raises(Damaged, match="gone"):
        await rig.store.content(new.message.id)


async def test_a_held_delivery_keeps_the_octets(rig: Rig) -> None:
    claimed = await rig.claimed()
    await rig.store.settle(settled(claimed, State.HELD, hold_reason="policy"))
    assert (await rig.store.content(claimed.message.id)).body == (BODY,)


async def test_content_comes_back_in_pieces_that_make_the_same_octets(rig: Rig) -> None:
    body = bytes(range(256)) * 4096
    new = rig.letters.new(body=body)
    await rig.store.accept(new, [])
    content = await rig.store.content(new.message.id)
    assert (content.header, b"".join(content.body)) == (HEADER, body)


async def test_an_empty_body_is_content_too(rig: Rig) -> None:
    new = rig.letters.new(body=b"")
    await rig.store.accept(new, [])
    assert b"".join((await rig.store.content(new.message.id)).body) == b""


async def test_next_due_is_the_earliest_due_time_or_end_of_a_lease(rig: Rig) -> None:
    assert await rig.store.next_due() is None
    claimed = await rig.claimed()
    assert await rig.store.next_due() == rig.store.lease
    await rig.store.settle(settled(claimed, State.QUEUED, reply=LATER, retry_in=timedelta(seconds=20)))
    assert await rig.store.next_due() == timedelta(seconds=20)
    rig.clock.advance(30)
    assert await rig.store.next_due() == timedelta(0)
    (claimed,) = await rig.store.claim(1)
    await rig.store.settle(settled(claimed, State.DELIVERED))
    assert await rig.store.next_due() is None


async def test_the_clock_stepping_back_delays_and_loses_nothing(rig: Rig) -> None:
    claimed = await rig.claimed()
    rig.clock.step(-timedelta(days=1))
    assert await rig.store.settle(settled(claimed, State.QUEUED, retry_in=timedelta(minutes=5))) is not None
    rig.clock.advance(300)
    assert await ids_claimed(rig.store) == [claimed.delivery.id]


def test_every_state_that_an_attempt_may_lead_to_has_an_event_here() -> None:
    assert set(EVENT_OF) == set(MOVES[State.ACTIVE])


async def test_messages_that_come_at_once_each_get_what_is_theirs(rig: Rig) -> None:
    new = [rig.letters.new((f"a{n}@example.net", f"b{n}@example.net"), body=b"%d\r\n" % n * (n + 1)) for n in range(40)]
    came = await asyncio.gather(*(rig.store.accept(one, [rig.event(one)], lease=n % 3) for n, one in enumerate(new)))
    for n, (one, accepted) in enumerate(zip(new, came, strict=True)):
        assert accepted.queue_id == one.message.id
        assert [each.delivery.id for each in accepted.leased] == [each.id for each in one.deliveries][: n % 3]
        assert await rig.store.content(one.message.id) == one.content


async def test_of_messages_that_come_at_once_one_that_cannot_be_written_spoils_no_other(rig: Rig) -> None:
    good, late, bad = rig.letters.new(), rig.letters.new(), rig.letters.new()
    bad = replace(bad, deliveries=tuple(replace(one, state=State.DELIVERED) for one in bad.deliveries))
    calls = (rig.store.accept(one, [], lease=1) for one in (good, bad, late))
    first, refused, second = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(refused, ValueError)
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert [len(first.leased), len(second.leased)] == [1, 1]


async def test_attempts_that_end_at_once_are_each_settled_once(rig: Rig) -> None:
    for n in range(20):
        await rig.accept(f"a{n}@example.net", f"b{n}@example.net")
    claimed = await rig.store.claim(40)
    one, other = claimed[0], claimed[1]
    told = [rig.told(each, State.QUEUED if each is other else State.DELIVERED) for each in claimed]
    results = await asyncio.gather(*(rig.store.settle(each) for each in (*told, rig.told(one, State.DELIVERED))))
    # the last one had lost its lease to the first by then
    assert [types(each) for each in results[:3]] == [["delivered"], ["deferred"], ["delivered"]]
    assert results[-1] is None
    assert not any(each is None for each in results[:-1])
    for each in claimed:
        if each.message.id == other.message.id:
            assert await rig.store.content(each.message.id)
        else:
            with pytest.raises(Damaged):
                await rig.store.content(each.message.id)


async def test_of_attempts_that_end_at_once_one_that_makes_no_sense_spoils_no_other(rig: Rig) -> None:
    good, bad = await rig.claimed("a@example.net"), await rig.claimed("b@example.net")
    senseless = rig.told(bad, State.DELIVERED)
    senseless = replace(senseless, settlement=replace(senseless.settlement, state=State.ACTIVE))
    calls = (rig.store.settle(rig.told(good, State.DELIVERED)), rig.store.settle(senseless))
    written, refused = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(written, tuple)
    assert isinstance(refused, ValueError)
