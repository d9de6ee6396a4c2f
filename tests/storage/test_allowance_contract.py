"""What every store promises of an account's limits, run against each of them. Two stores are two workers."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from mta.accounts.account import Rate
from mta.accounts.allowance import DuplicateKey, Terms
from mta.errors import FirstTimeUsedUp, OverRate
from mta.events import EventType
from mta.queue.model import NewMessage, State
from mta.queue.store import Accepted, Store
from tests.storage.rig import Rig, settled

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TEN = Terms(rate=Rate(10, HOUR))
ONCE = Terms(duplicate=DuplicateKey(b"digest", HOUR))


def crowd(count: int, name: str = "u") -> list[str]:
    return [f"{name}{number}@example.net" for number in range(count)]


def letter(
    rig: Rig, terms: Terms | None, *recipients: str, account: str = "app", release_at: datetime | None = None
) -> NewMessage:
    new = rig.letters.new(recipients or ["a@example.net"], account=account)
    return replace(new, terms=terms, message=replace(new.message, release_at=release_at))


async def accept(rig: Rig, terms: Terms | None, *recipients: str, store: Store | None = None) -> Accepted:
    new = letter(rig, terms, *recipients)
    event = replace(rig.event(new), detail={"recipients": len(new.deliveries)})
    return await (store or rig.store).accept(new, [event])


async def waiting(rig: Rig) -> list[str]:
    return sorted(str(one.delivery.recipient.mailbox) for one in await rig.store.claim(1000))


async def test_a_rate_counts_deliveries_and_a_message_over_it_is_refused_whole(rig: Rig) -> None:
    await accept(rig, TEN, *crowd(8))
    with pytest.raises(OverRate):
        await accept(rig, TEN, *crowd(3, "late"))
    await accept(rig, TEN, *crowd(2, "more"))
    with pytest.raises(OverRate, match=r"account app: 1 more deliver\w+ are over 10|1 more are over 10"):
        await accept(rig, TEN, "last@example.net")
    assert await waiting(rig) == sorted(crowd(8) + crowd(2, "more"))


async def test_a_refusal_says_when_there_is_room_and_then_there_is(rig: Rig) -> None:
    await accept(rig, TEN, *crowd(6))
    rig.clock.advance(600)
    await accept(rig, TEN, *crowd(4))
    with pytest.raises(OverRate) as refusal:
        await accept(rig, TEN, *crowd(7))
    assert refusal.value.again == rig.clock.now() + HOUR
    with pytest.raises(OverRate) as refusal:
        await accept(rig, TEN, *crowd(6))
    assert refusal.value.again == rig.clock.now() + timedelta(minutes=50)
    rig.clock.advance(timedelta(minutes=50))
    await accept(rig, TEN, *crowd(6))


async def test_a_message_to_more_than_the_rate_allows_at_all_never_has_room(rig: Rig) -> None:
    with pytest.raises(OverRate) as refusal:
        await accept(rig, TEN, *crowd(11))
    assert refusal.value.again is None


async def test_the_window_slides(rig: Rig) -> None:
    for _ in range(20):
        await accept(rig, TEN)
        rig.clock.advance(HOUR / 10)
    with pytest.raises(OverRate):
        await accept(rig, TEN, *crowd(2))


async def test_workers_share_a_rate(rig: Rig) -> None:
    other = await rig.open()
    await accept(rig, TEN, *crowd(6))
    with pytest.raises(OverRate):
        await accept(rig, TEN, *crowd(5), store=other)
    await accept(rig, TEN, *crowd(4), store=other)


async def test_an_account_is_not_held_to_what_others_send_nor_to_what_it_sent_without_a_rate(rig: Rig) -> None:
    await rig.store.accept(letter(rig, TEN, *crowd(10), account="shop"), [])
    await accept(rig, None, *crowd(10))
    await accept(rig, TEN, *crowd(10))


async def test_a_change_of_the_rate_holds_at_once(rig: Rig) -> None:
    await accept(rig, TEN, *crowd(10))
    await accept(rig, Terms(rate=Rate(12, HOUR)), *crowd(2))
    with pytest.raises(OverRate):
        await accept(rig, Terms(rate=Rate(1, HOUR)))


async def test_notifications_of_ours_count_nowhere(rig: Rig) -> None:
    await accept(rig, TEN, *crowd(9))
    (claimed, *_) = await rig.store.claim(1)
    dsn = rig.letters.new(["app@example.com"], sender="")
    assert await rig.store.settle(replace(settled(claimed, State.BOUNCED), dsn=dsn)) is not None
    await accept(rig, TEN)


async def test_a_delivery_that_begins_suppressed_counts_nowhere(rig: Rig) -> None:
    new = letter(rig, Terms(rate=Rate(1, HOUR), first_time_per_day=1), "a@example.net", "b@example.net")
    kept = replace(new.deliveries[0], state=State.SUPPRESSED)
    await rig.store.accept(replace(new, deliveries=(kept, new.deliveries[1])), [])
    with pytest.raises(OverRate):
        await accept(rig, TEN, *crowd(10))


async def test_mail_that_waits_for_its_release_counts_then(rig: Rig) -> None:
    release = rig.clock.now() + timedelta(hours=5)
    await rig.store.accept(letter(rig, TEN, *crowd(10), release_at=release), [])
    await accept(rig, TEN, *crowd(10))
    with pytest.raises(OverRate) as refusal:
        await rig.store.accept(letter(rig, TEN, release_at=release + timedelta(minutes=30)), [])
    assert refusal.value.again == release + HOUR
    rig.clock.advance(timedelta(hours=4, minutes=30))
    with pytest.raises(OverRate):
        await accept(rig, TEN)
    rig.clock.advance(timedelta(minutes=90))
    await accept(rig, TEN, *crowd(10))


async def test_a_release_time_that_has_passed_counts_now(rig: Rig) -> None:
    past = rig.clock.now() - timedelta(hours=2)
    await rig.store.accept(letter(rig, TEN, *crowd(10), release_at=past), [])
    with pytest.raises(OverRate):
        await accept(rig, TEN)


async def test_the_book_says_how_many_deliveries_are_left(rig: Rig) -> None:
    rate = Rate(10, HOUR)
    assert await rig.store.allowances.remaining("app", rate) == 10
    await accept(rig, TEN, *crowd(4))
    assert await rig.store.allowances.remaining("app", rate) == 6
    await accept(rig, TEN, *crowd(6))
    assert await rig.store.allowances.remaining("app", rate) == 0
    assert await rig.store.allowances.remaining("app", Rate(3, HOUR)) == 0
    assert await rig.store.allowances.remaining("shop", rate) == 10
    rig.clock.advance(HOUR)
    assert await rig.store.allowances.remaining("app", rate) == 10


async def test_the_book_hears_of_other_workers_within_a_second(rig: Rig) -> None:
    other = await rig.open()
    assert await other.allowances.remaining("app", Rate(10, HOUR)) == 10
    await accept(rig, TEN, *crowd(4))
    rig.clock.advance(1)
    assert await other.allowances.remaining("app", Rate(10, HOUR)) == 6


async def test_only_so_many_are_written_to_for_the_first_time_in_a_day(rig: Rig) -> None:
    three = Terms(first_time_per_day=3)
    await accept(rig, three, *crowd(2))
    with pytest.raises(FirstTimeUsedUp) as refusal:
        await accept(rig, three, "u0@example.net", "x@example.net", "y@example.net")
    assert refusal.value.again == rig.clock.now() + DAY
    # those that are known cost nothing, whoever has them in capitals
    await accept(rig, three, "U0@example.net", "u1@example.net", "x@example.net")
    with pytest.raises(FirstTimeUsedUp):
        await accept(rig, three, "y@example.net")
    # what was refused made nobody known
    rig.clock.advance(DAY)
    await accept(rig, three, "y@example.net", "z@example.net", "v@example.net")
    with pytest.raises(FirstTimeUsedUp):
        await accept(rig, three, "w@example.net")


async def test_who_was_written_to_before_there_was_a_limit_is_known(rig: Rig) -> None:
    await accept(rig, None, *crowd(5))
    await rig.store.accept(letter(rig, None, "x@example.net", account="shop"), [])
    await accept(rig, Terms(first_time_per_day=1), *crowd(5), "y@example.net")
    with pytest.raises(FirstTimeUsedUp):
        await accept(rig, Terms(first_time_per_day=1), "x@example.net")


async def test_a_message_over_one_limit_uses_nothing_of_the_other(rig: Rig) -> None:
    both = Terms(rate=Rate(3, HOUR), first_time_per_day=2)
    with pytest.raises(FirstTimeUsedUp):
        await accept(rig, both, *crowd(3))
    with pytest.raises(OverRate):
        await accept(rig, both, *crowd(4))
    await accept(rig, both, *crowd(2))
    await accept(rig, both, "u0@example.net")


async def test_the_same_message_again_is_not_queued_again(rig: Rig) -> None:
    first = await accept(rig, ONCE, *crowd(2))
    again = await accept(rig, ONCE, *crowd(2))
    assert again == Accepted(first.queue_id, (), (), duplicates=2)
    assert await waiting(rig) == crowd(2)


async def test_only_recipients_that_do_not_have_it_are_queued_and_the_client_is_told_the_first_id(rig: Rig) -> None:
    first = await accept(rig, ONCE, "a@example.net")
    again = await accept(rig, ONCE, "a@example.net", "b@example.net")
    assert (again.queue_id, again.duplicates) == (first.queue_id, 1)
    (event,) = again.events
    assert event.type is EventType.ACCEPTED
    assert event.detail == {"recipients": 1, "duplicates": 1, "duplicate_of": first.queue_id}
    assert await waiting(rig) == ["a@example.net", "b@example.net"]
    third = await accept(rig, ONCE, "b@example.net")
    assert (third.queue_id, third.duplicates) == (event.queue_id, 1)


async def test_what_is_left_of_a_duplicate_is_leased_as_any_other(rig: Rig) -> None:
    await accept(rig, ONCE, "a@example.net")
    new = letter(rig, ONCE, "a@example.net", "b@example.net")
    accepted = await rig.store.accept(new, [], lease=2)
    assert [one.delivery.id for one in accepted.leased] == [new.deliveries[1].id]


async def test_a_duplicate_is_known_for_its_window_and_to_all_workers(rig: Rig) -> None:
    other = await rig.open()
    await accept(rig, ONCE)
    rig.clock.advance(HOUR - timedelta(seconds=1))
    assert (await accept(rig, ONCE, store=other)).duplicates == 1
    # a duplicate does not make the window longer
    rig.clock.advance(1)
    assert (await accept(rig, ONCE, store=other)).duplicates == 0
    assert (await accept(rig, ONCE)).duplicates == 1


async def test_another_message_is_no_duplicate(rig: Rig) -> None:
    await accept(rig, ONCE)
    assert (await accept(rig, Terms(duplicate=DuplicateKey(b"other", HOUR)))).duplicates == 0
    assert (await accept(rig, Terms())).duplicates == 0
    assert (await accept(rig, None)).duplicates == 0


async def test_duplicates_are_not_counted(rig: Rig) -> None:
    terms = replace(ONCE, rate=Rate(3, HOUR), first_time_per_day=3)
    await accept(rig, terms, *crowd(2))
    for _ in range(3):
        await accept(rig, terms, *crowd(2))
    assert (await accept(rig, terms, *crowd(3))).duplicates == 2
    with pytest.raises(OverRate):
        await accept(rig, terms, *crowd(4))


async def test_a_message_that_was_refused_is_no_duplicate_later(rig: Rig) -> None:
    await accept(rig, TEN, *crowd(10))
    terms = replace(ONCE, rate=Rate(10, HOUR))
    with pytest.raises(OverRate):
        await accept(rig, terms)
    rig.clock.advance(HOUR)
    assert (await accept(rig, terms)).duplicates == 0


@pytest.mark.parametrize("terms", [None, Terms(), TEN, ONCE])
async def test_what_was_written_is_returned(rig: Rig, terms: Terms | None) -> None:
    new = letter(rig, terms)
    event = rig.event(new)
    accepted = await rig.store.accept(new, [event])
    assert (accepted.queue_id, accepted.events, accepted.duplicates) == (new.message.id, (event,), 0)
