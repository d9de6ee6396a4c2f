"""Whose turn it is to be claimed, what is passed over, paused or too old: run against every store."""

import random
from collections import Counter
from datetime import timedelta

import pytest

from mta.mail.token import GroupPath
from mta.queue.lanes import Lane
from mta.queue.model import Claimed, NewMessage, Pause, PauseScope, SiteRest, State, Stream
from mta.queue.returned import Member
from mta.queue.store import SOON
from tests.fakes.memory_store import MemoryStore
from tests.storage.disk import ask
from tests.storage.rig import LATER, Rig, settled


async def queue(rig: Rig, account: str, stream: Stream, count: int = 1, to: str = "example.net") -> NewMessage:
    new = rig.letters.new([f"u{number}@{to}" for number in range(count)], account=account, stream=stream)
    await rig.store.accept(new, [])
    return new


def lane_of(claimed: Claimed) -> Lane:
    return Lane(claimed.message.stream, claimed.message.account)


def by_lane(claimed: list[Claimed]) -> dict[tuple[str, str], int]:
    return dict(Counter((one.message.stream.value, one.message.account) for one in claimed))


async def pause(rig: Rig, path: str, scope: PauseScope, value: str = "") -> None:
    """Write a pause past the store, as an operator's command does."""
    made = Pause(f"p{value}", scope, value, "storm", "root", rig.clock.now())
    if isinstance(rig.store, MemoryStore):
        rig.store.memory.pauses.append(made)
    else:
        at = (made.at.timestamp() * 1000,)
        ask(path, "INSERT INTO pauses VALUES (?, ?, ?, ?, ?, ?)", made.id, scope.value, value, "storm", "root", *at)


async def test_transactional_mail_goes_before_bulk_but_bulk_gets_a_tenth(rig: Rig) -> None:
    await queue(rig, "app", Stream.BULK, 50)
    rig.clock.advance(60)
    await queue(rig, "app", Stream.TRANSACTIONAL, 50)
    assert by_lane(await rig.store.claim(20)) == {("transactional", "app"): 18, ("bulk", "app"): 2}


async def test_accounts_take_turns_however_much_each_has_waiting(rig: Rig) -> None:
    await queue(rig, "whale", Stream.BULK, 300)
    rig.clock.advance(60)
    await queue(rig, "shrimp", Stream.BULK, 5)
    assert by_lane(await rig.store.claim(10)) == {("bulk", "whale"): 5, ("bulk", "shrimp"): 5}
    assert by_lane(await rig.store.claim(10)) == {("bulk", "whale"): 10}


async def test_what_we_write_on_nobodys_behalf_is_claimed_too(rig: Rig) -> None:
    await queue(rig, "", Stream.TRANSACTIONAL)
    await queue(rig, "app", Stream.TRANSACTIONAL)
    assert by_lane(await rig.store.claim(10)) == {("transactional", ""): 1, ("transactional", "app"): 1}


async def test_what_one_lane_does_not_use_goes_to_the_others(rig: Rig) -> None:
    await queue(rig, "app", Stream.TRANSACTIONAL, 3)
    await queue(rig, "news", Stream.BULK, 50)
    assert by_lane(await rig.store.claim(40)) == {("transactional", "app"): 3, ("bulk", "news"): 37}


async def test_a_million_of_one_account_do_not_fill_the_window(rig: Rig) -> None:
    await queue(rig, "whale", Stream.BULK, 300)
    hand = Counter[Lane]()
    for _ in range(30):
        hand.update(lane_of(one) for one in await rig.store.claim(20, (), hand, window=100))
    assert 45 <= hand.total() <= 55
    await queue(rig, "whale", Stream.TRANSACTIONAL, 1)
    assert by_lane(await rig.store.claim(20, (), hand, window=100)) == {("transactional", "whale"): 1}


async def test_each_delivery_is_claimed_once_whatever_is_passed_over_and_given_back(rig: Rig) -> None:
    """Claims, releases and retries in a random order; in the end everything was claimed, nothing twice at a time."""
    dice = random.Random(7)
    domains = [f"d{number}.example" for number in range(6)]
    waiting = {
        delivery.id
        for account in ("a", "b")
        for stream in Stream
        for new in [rig.letters.new([f"u@{domains[i % 6]}" for i in range(40)], account=account, stream=stream)]
        if await rig.store.accept(new, [])
        for delivery in new.deliveries
    }
    leased: dict[str, Claimed] = {}
    done: set[str] = set()
    for _ in range(150):
        rig.clock.advance(1)
        passing = dice.sample(domains, dice.randrange(5))
        for one in await rig.store.claim(dice.randrange(1, 9), passing):
            assert one.delivery.id not in leased
            assert one.delivery.id not in done
            assert one.delivery.domain not in passing
            leased[one.delivery.id] = one
        for id in dice.sample(sorted(leased), min(len(leased), dice.randrange(6))):
            one = leased.pop(id)
            match dice.randrange(3):
                case 0:
                    await rig.store.release([id])
                case 1:
                    again = settled(one, State.QUEUED, reply=LATER, retry_in=timedelta(seconds=dice.randrange(9)))
                    assert await rig.store.settle(again) is not None
                case _:
                    assert await rig.store.settle(settled(one, State.DELIVERED)) is not None
                    done.add(id)
        await rig.store.extend(list(leased))
    rig.clock.advance(10)
    rest = {one.delivery.id for one in await rig.store.claim(1000)}
    assert rest | set(leased) | done == waiting
    assert not rest & (set(leased) | done)


async def test_what_another_worker_gives_back_is_found_though_newer_mail_was_claimed_since(rig: Rig) -> None:
    other = await rig.open()
    old = await queue(rig, "app", Stream.TRANSACTIONAL, 1, "old.example")
    (theirs,) = await other.claim(1)
    rig.clock.advance(30)
    await queue(rig, "app", Stream.TRANSACTIONAL, 1)
    assert len(await rig.store.claim(10)) == 1
    await other.release([theirs.delivery.id])
    assert [one.message.id for one in await rig.store.claim(10)] == [old.message.id]


async def test_it_is_found_behind_what_is_passed_over_too_after_a_while(rig: Rig) -> None:
    other = await rig.open()
    old = await queue(rig, "app", Stream.TRANSACTIONAL, 1, "old.example")
    (theirs,) = await other.claim(1)
    await queue(rig, "app", Stream.TRANSACTIONAL, 1, "full.example")
    rig.clock.advance(30)
    assert await rig.store.claim(10, ["full.example"]) == []
    await other.release([theirs.delivery.id])
    rig.clock.advance(31)
    found = await rig.store.claim(10, ["full.example"]) or await rig.store.claim(10, ["full.example"])
    assert [one.message.id for one in found] == [old.message.id]


async def test_a_clock_that_is_set_back_hides_nothing(rig: Rig) -> None:
    await queue(rig, "app", Stream.TRANSACTIONAL, 1, "full.example")
    rig.clock.advance(3600)
    assert await rig.store.claim(10, ["full.example"]) == []
    rig.clock.step(-timedelta(hours=1))
    new = await queue(rig, "app", Stream.TRANSACTIONAL, 1)
    assert [one.message.id for one in await rig.store.claim(10, ["full.example"])] == [new.message.id]


@pytest.mark.parametrize(
    ("scope", "value", "left"),
    [
        (PauseScope.ALL, "", {}),
        (PauseScope.ACCOUNT, "app", {("bulk", "news"): 1}),
        (PauseScope.STREAM, "bulk", {("transactional", "app"): 1}),
        (PauseScope.SITE, "example.net", {("transactional", "app"): 1, ("bulk", "app"): 1, ("bulk", "news"): 1}),
    ],
)
async def test_what_is_paused_is_not_claimed_and_nobody_waits_for_it(
    rig: Rig, path: str, scope: PauseScope, value: str, left: dict[tuple[str, str], int]
) -> None:
    await queue(rig, "app", Stream.TRANSACTIONAL)
    await queue(rig, "app", Stream.BULK)
    await queue(rig, "news", Stream.BULK)
    await pause(rig, path, scope, value)
    assert [(one.scope, one.value, one.reason, one.who) for one in await rig.store.pauses()] == [
        (scope, value, "storm", "root")
    ]
    claimed = await rig.store.claim(10)
    assert by_lane(claimed) == left
    assert await rig.store.next_due() == (rig.store.lease if claimed else None)


async def test_a_lapsed_lease_of_a_paused_account_stays_where_it_is(rig: Rig, path: str) -> None:
    await rig.claimed()
    await pause(rig, path, PauseScope.ACCOUNT, "app")
    rig.clock.advance(rig.store.lease)
    assert await rig.store.claim(10) == []


async def test_nothing_newer_goes_before_what_waits_in_its_lane(rig: Rig) -> None:
    lane, other = Lane(Stream.TRANSACTIONAL, "app"), Lane(Stream.BULK, "app")
    # before the first claim nobody knows
    assert rig.store.waits(lane, "example.net")
    await rig.store.claim(1)
    assert not rig.store.waits(lane, "example.net")
    await queue(rig, "app", Stream.TRANSACTIONAL, 3)
    assert rig.store.waits(lane, "example.org")
    assert not rig.store.waits(other, "example.net")
    await rig.store.claim(2)
    assert rig.store.waits(lane, "example.org")
    await rig.store.claim(2)
    assert not rig.store.waits(lane, "example.net")


async def test_what_waits_for_a_domain_without_room_is_in_the_way_of_that_domain_only(rig: Rig) -> None:
    lane = Lane(Stream.TRANSACTIONAL, "app")
    await queue(rig, "app", Stream.TRANSACTIONAL, 3, "full.example")
    assert await rig.store.claim(10, ["full.example"]) == []
    assert rig.store.waits(lane, "full.example")
    assert not rig.store.waits(lane, "example.net")


async def test_a_retry_waits_from_when_it_is_due(rig: Rig) -> None:
    lane = Lane(Stream.TRANSACTIONAL, "app")
    claimed = await rig.claimed()
    await rig.store.settle(settled(claimed, State.QUEUED, reply=LATER, retry_in=timedelta(minutes=5)))
    await rig.store.claim(1)
    assert not rig.store.waits(lane, "example.net")
    rig.clock.advance(300)
    assert rig.store.waits(lane, "example.net")


async def test_a_paused_lane_waits(rig: Rig, path: str) -> None:
    await pause(rig, path, PauseScope.STREAM, "bulk")
    await rig.store.claim(1)
    assert rig.store.waits(Lane(Stream.BULK, "app"), "example.net")
    assert not rig.store.waits(Lane(Stream.TRANSACTIONAL, "app"), "example.net")


async def test_next_due_does_not_count_what_the_last_claim_saw_and_left(rig: Rig) -> None:
    claimed = await rig.claimed()
    await rig.store.settle(settled(claimed, State.QUEUED, reply=LATER, retry_in=timedelta(minutes=5)))
    await queue(rig, "app", Stream.TRANSACTIONAL, 3, "full.example")
    assert await rig.store.next_due() == timedelta(0)
    assert await rig.store.claim(10, ["full.example"]) == []
    assert await rig.store.next_due() == timedelta(minutes=5)


async def test_next_due_does_not_count_a_lapsed_lease_of_a_domain_without_room(rig: Rig) -> None:
    await rig.claimed()
    rig.clock.advance(rig.store.lease + timedelta(seconds=1))
    assert await rig.store.next_due() == timedelta(0)
    assert await rig.store.claim(1, ["example.net"]) == []
    assert await rig.store.next_due() is None


async def test_the_leases_of_a_dead_worker_are_given_back_at_once(rig: Rig) -> None:
    new = await rig.accept("a@example.net", "b@example.net", lease=1)
    other = await rig.open()
    (theirs,) = await other.claim(10)
    assert await rig.store.give_back_of(other.worker) == 1
    assert [one.delivery.id for one in await rig.store.claim(10)] == [new.deliveries[1].id]
    assert await other.settle(settled(theirs, State.DELIVERED)) is None
    assert await rig.store.give_back_of(other.worker) == 0


async def test_no_worker_takes_its_own_leases_for_a_dead_ones(rig: Rig) -> None:
    with pytest.raises(ValueError, match="lives"):
        await rig.store.give_back_of(rig.store.worker)


async def test_what_is_too_old_is_claimed_though_it_is_not_due_or_has_no_room(rig: Rig, path: str) -> None:
    old = await queue(rig, "app", Stream.TRANSACTIONAL, 1)
    (claimed,) = await rig.store.claim(1)
    await rig.store.settle(settled(claimed, State.QUEUED, reply=LATER, retry_in=timedelta(days=9)))
    bulk = await queue(rig, "app", Stream.BULK, 1)
    rig.clock.advance(timedelta(days=2))
    young = await queue(rig, "app", Stream.TRANSACTIONAL, 1)
    before = {
        Stream.TRANSACTIONAL: rig.clock.now() - timedelta(days=1),
        Stream.BULK: rig.clock.now() - timedelta(days=4),
    }
    assert [one.message.id for one in await rig.store.claim_old(before, 10)] == [old.message.id]
    assert await rig.store.claim_old(before, 10) == []
    assert {one.message.id for one in await rig.store.claim(10)} == {bulk.message.id, young.message.id}


@pytest.mark.parametrize(
    ("scope", "value"), [(PauseScope.ACCOUNT, "app"), (PauseScope.STREAM, "transactional"), (PauseScope.ALL, "")]
)
async def test_what_is_paused_becomes_too_old_like_any_other(
    rig: Rig, path: str, scope: PauseScope, value: str
) -> None:
    lost = await rig.claimed()
    waiting = await queue(rig, "app", Stream.TRANSACTIONAL)
    ends = rig.letters.new(expires_at=rig.clock.now() + timedelta(hours=1))
    await rig.store.accept(ends, [])
    await pause(rig, path, scope, value)
    # the same search for what lost its worker, which nobody claims while it is paused
    rig.clock.advance(timedelta(hours=2))
    assert await rig.store.claim(10) == []
    before = {Stream.TRANSACTIONAL: rig.clock.now() - timedelta(days=1)}
    assert [one.message.id for one in await rig.store.claim_old(before, 10)] == [ends.message.id]
    rig.clock.advance(timedelta(days=1))
    before = {Stream.TRANSACTIONAL: rig.clock.now() - timedelta(days=1)}
    found = {one.message.id for one in await rig.store.claim_old(before, 10)}
    assert found == {lost.message.id, waiting.message.id, ends.message.id}
    assert await rig.store.claim_old(before, 10) == []


async def test_a_lease_that_stands_is_left_alone_however_old_its_delivery_is(rig: Rig) -> None:
    claimed = await rig.claimed()
    rig.clock.advance(timedelta(days=2))
    assert await rig.store.extend([claimed.delivery.id]) == {claimed.delivery.id}
    assert await rig.store.claim_old({Stream.TRANSACTIONAL: rig.clock.now()}, 10) == []


async def test_a_message_whose_own_time_is_over_is_too_old(rig: Rig) -> None:
    end = rig.clock.now() + timedelta(minutes=15)
    new = rig.letters.new(expires_at=end)
    await rig.store.accept(new, [])
    assert await rig.store.claim_old({}, 10) == []
    rig.clock.advance(900)
    assert [one.message.id for one in await rig.store.claim_old({}, 10)] == [new.message.id]


async def test_the_search_for_old_mail_comes_round_to_everything(rig: Rig) -> None:
    for _ in range(3):
        await queue(rig, "app", Stream.BULK, 800)
    rig.clock.advance(timedelta(days=2))
    before = {Stream.BULK: rig.clock.now() - timedelta(days=1)}
    found = [one.delivery.id for _ in range(12) for one in await rig.store.claim_old(before, 250)]
    assert (len(found), len(set(found))) == (2400, 2400)


async def test_rests_of_sites_are_seen_by_all_workers_until_they_end(rig: Rig) -> None:
    other = await rig.open()
    rest = SiteRest("mx.example.net", rig.clock.now() + timedelta(minutes=5), 3, "connection refused")
    await rig.store.note_rest(rest.site, rest)
    assert await other.rests() == [rest]
    longer = SiteRest(rest.site, rig.clock.now() + timedelta(minutes=10), 4, "connection refused")
    await other.note_rest(rest.site, longer)
    rig.clock.advance(301)
    assert await rig.store.rests() == [longer]
    await other.note_rest(rest.site, None)
    assert await rig.store.rests() == []
    await rig.store.note_rest(rest.site, longer)
    rig.clock.advance(300)
    assert await rig.store.rests() == []


# brothers


async def shared(rig: Rig, *recipients: str, path: str = "g1", lease: int = 0) -> NewMessage:
    new = rig.letters.new(recipients, shared=path)
    await rig.store.accept(new, [], lease)
    return new


async def test_brothers_are_those_of_the_message_with_the_same_return_path_that_wait(rig: Rig) -> None:
    new = await shared(rig, "a@example.net", "b@example.net", "c@example.org", "d@example.net", lease=1)
    await shared(rig, "e@example.net")
    own = rig.letters.new(["f@example.net"])
    await rig.store.accept(own, [])
    (first, *_) = new.deliveries
    mine = Claimed(new.message, first, rig.clock.now())
    found = await rig.store.claim_brothers(mine, 2)
    assert [str(one.delivery.recipient.mailbox) for one in found] == ["b@example.net", "c@example.org"]
    assert {one.delivery.state for one in found} == {State.ACTIVE}
    assert all(one.message == new.message for one in found)
    assert [one.delivery.id for one in await rig.store.claim_brothers(mine, 50)] == [new.deliveries[3].id]
    assert await rig.store.claim_brothers(mine, 50) == []
    assert len(await rig.store.claim(50)) == 2


async def test_the_lease_of_a_brother_is_a_lease_like_any(rig: Rig) -> None:
    new = await shared(rig, "a@example.net", "b@example.net", lease=1)
    (brother,) = await rig.store.claim_brothers(Claimed(new.message, new.deliveries[0], rig.clock.now()), 50)
    assert await rig.store.extend([brother.delivery.id]) == {brother.delivery.id}
    await rig.store.release([brother.delivery.id])
    (again,) = await rig.store.claim(50)
    assert again.delivery.id == brother.delivery.id
    rig.clock.advance(rig.store.lease)
    assert brother.delivery.id in {one.delivery.id for one in await (await rig.open()).claim(50)}
    assert await rig.store.settle(settled(again, State.DELIVERED)) is None


async def test_what_is_due_in_a_moment_goes_along_and_what_is_due_later_does_not(rig: Rig) -> None:
    new = await shared(rig, "a@example.net", "b@example.net", "c@example.net")
    one, other, third = await rig.store.claim(50)
    await rig.store.settle(settled(other, State.QUEUED, reply=LATER, retry_in=SOON))
    await rig.store.settle(settled(third, State.QUEUED, reply=LATER, retry_in=SOON + timedelta(seconds=1)))
    assert [each.delivery.id for each in await rig.store.claim_brothers(one, 50)] == [new.deliveries[1].id]


async def test_a_brother_that_is_suppressed_is_claimed_with_the_reason(rig: Rig) -> None:
    await rig.bounced("b@example.net")
    new = await shared(rig, "a@example.net", "b@example.net", lease=1)
    (brother,) = await rig.store.claim_brothers(Claimed(new.message, new.deliveries[0], rig.clock.now()), 50)
    assert brother.suppressed == await rig.found("b@example.net")


async def test_claims_go_on_behind_brothers_that_were_taken_out_of_turn(rig: Rig) -> None:
    new = await shared(rig, *(f"u{number}@example.net" for number in range(6)))
    (first,) = await rig.store.claim(1)
    brothers = await rig.store.claim_brothers(first, 2)
    rest = await rig.store.claim(50)
    taken = [one.delivery.id for one in (first, *brothers, *rest)]
    assert taken == [one.id for one in new.deliveries]


async def test_members_of_a_group_are_found_by_their_addresses_in_whatever_state(rig: Rig) -> None:
    new = await shared(rig, "a@example.net", "B@example.net", "c@example.net", path="g1")
    await shared(rig, "a@example.net", path="g1")
    await rig.store.accept(rig.letters.new(["c@example.org"]), [])
    first = (await rig.store.claim(1))[0]
    await rig.store.settle(settled(first, State.DELIVERED))
    asked = ["A@EXAMPLE.net", "b@example.net", "c@example.org", "\u212a@example.net", "nobody"]
    path = GroupPath(new.message.id, "g1")
    assert await rig.store.members(path, asked) == [
        Member(new.deliveries[0].id, "a@example.net"),
        Member(new.deliveries[1].id, "B@example.net"),
    ]
    assert await rig.store.members(GroupPath(new.message.id, "g"), asked) == []
    assert await rig.store.members(GroupPath("nothing", "g1"), asked) == []
    assert await rig.store.members(path, []) == []
