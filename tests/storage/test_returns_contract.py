"""What every store promises of the way back: suppressions, late bounces, complaints, notes, counts and standings."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.accounts.standing import Standing
from mta.accounts.standing import State as StandingState
from mta.errors import StoreUnavailable
from mta.events import Event, EventType
from mta.mail.address import Mailbox
from mta.queue.model import MOVES, State
from mta.queue.returned import Filed, ReturnNote
from mta.reputation.rates import Tally, slot_of
from mta.reputation.suppression import Cause
from tests.storage.rig import LATER, NOBODY, OK, Rig, settled, types

BOUNCED, ADDED, COMPLAINED = EventType.BOUNCED, EventType.SUPPRESSION_ADDED, EventType.COMPLAINED
DAY = timedelta(days=1)
STREAM = Standing("app", "transactional")


async def counted(rig: Rig, standing: Standing = STREAM) -> Tally:
    """All that a standing's epoch counts."""
    return sum((tally for _, tally in await rig.store.book.slots(standing, 0)), Tally())


# the list


async def test_a_bounce_with_a_suppression_puts_the_address_on_the_list(rig: Rig) -> None:
    assert await rig.bounced() == [BOUNCED, ADDED]
    entry = await rig.found()
    assert entry == rig.entry(delivery_id=entry.delivery_id if entry else None)
    assert await rig.found("A@example.net") is None
    assert await rig.store.suppression_list.find("other", Mailbox.parse("a@example.net")) is None


async def test_the_domain_of_an_address_is_compared_without_regard_to_case(rig: Rig) -> None:
    await rig.bounced("A@example.net")
    assert await rig.found("A@EXAMPLE.net") is not None


async def test_a_settlement_without_a_lease_suppresses_nobody(rig: Rig) -> None:
    claimed = await rig.claimed()
    rig.clock.advance(rig.store.lease)
    await (await rig.open()).claim(1)
    assert await rig.store.settle(rig.told(claimed, State.BOUNCED, suppression=rig.entry())) is None
    assert await rig.found() is None


async def test_an_entry_stands_in_the_way_of_a_claim_but_only_of_its_own_account_and_address(rig: Rig) -> None:
    await rig.bounced()
    await rig.accept("a@example.net", "b@example.net")
    other = rig.letters.new(["a@example.net"])
    await rig.store.accept(replace(other, message=replace(other.message, account="other")), [])
    first, second, third = await rig.store.claim(10)
    assert (first.suppressed, second.suppressed, third.suppressed) == (await rig.found(), None, None)


async def test_an_entry_stands_in_the_way_of_what_is_leased_at_acceptance(rig: Rig) -> None:
    await rig.bounced()
    accepted = await rig.store.accept(rig.letters.new(["b@example.net", "a@example.net"]), [], lease=2)
    assert [one.suppressed for one in accepted.leased] == [None, await rig.found()]


async def test_messages_to_one_recipient_each_are_leased_with_their_entries_when_they_are_due(rig: Rig) -> None:
    await rig.bounced()
    listed, free, later, held = (rig.letters.new([name]) for name in ["a@example.net", "b@example.net"] * 2)
    later = replace(later, deliveries=(replace(later.deliveries[0], due_at=rig.clock.now() + DAY),))
    held = replace(held, deliveries=(replace(held.deliveries[0], state=State.HELD, hold_reason="policy"),))
    came = await asyncio.gather(
        *(rig.store.accept(one, [rig.event(one)], lease=1) for one in (listed, free, later, held)),
        rig.store.accept(unleased := rig.letters.new(["a@example.net"]), [rig.event(unleased)]),
    )
    entry = await rig.found()
    assert [[one.suppressed for one in each.leased] for each in came] == [[entry], [None], [], [], []]
    assert [[one.type for one in each.events] for each in came] == [[EventType.ACCEPTED]] * 5
    assert [one.message.id for one in await rig.store.claim(10)] == [unleased.message.id]


async def test_an_address_that_comes_onto_the_list_later_is_found_when_the_delivery_is_claimed_again(rig: Rig) -> None:
    claimed = await rig.claimed()
    await rig.store.settle(settled(claimed, State.QUEUED, reply=LATER, retry_in=timedelta(hours=1)))
    await rig.bounced()
    rig.clock.advance(3600)
    (again,) = await rig.store.claim(1)
    assert again.suppressed == await rig.found()
    assert await rig.store.settle(settled(again, State.SUPPRESSED, reply=NOBODY)) is not None


async def test_an_entry_that_has_ended_stands_in_nobodys_way(rig: Rig) -> None:
    await rig.bounced(suppression=rig.entry(expires_at=rig.clock.now() + DAY))
    rig.clock.advance(DAY - timedelta(seconds=1))
    assert await rig.found() is not None
    rig.clock.advance(1)
    assert await rig.found() is None
    assert (await rig.claimed()).suppressed is None


@pytest.mark.parametrize(
    ("old", "new", "after", "is_new"),
    [
        (None, None, "old", False),
        (None, 30, "old", False),
        (1, 30, "new", False),
        (1, None, "new", False),
        (30, 1, "old", False),
        (0, 30, "new", True),
        (0, None, "new", True),
    ],
)
async def test_an_entry_is_never_weakened_and_told_of_only_when_it_is_new(
    rig: Rig, old: int | None, new: int | None, after: str, is_new: bool
) -> None:
    first, second = await rig.claimed(), await rig.claimed()
    for claimed, detail, days in ((first, "old", old), (second, "new", new)):
        ends = None if days is None else rig.clock.now() + days * DAY
        entry = rig.entry(detail=detail, cause=Cause.SOFT_BOUNCE, expires_at=ends)
        written = await rig.store.settle(rig.told(claimed, State.BOUNCED, suppression=entry))
    assert types(written) == ([BOUNCED, ADDED] if is_new else [BOUNCED])
    entry_now = await rig.found()
    assert entry_now is not None
    assert entry_now.detail == after


# suspicion


async def test_a_suspicion_suppresses_only_when_it_is_seen_again_a_day_later(rig: Rig) -> None:
    assert await rig.bounced(suspicion=True) == [BOUNCED]
    rig.clock.advance(DAY - timedelta(seconds=1))
    assert await rig.bounced(suspicion=True) == [BOUNCED]
    assert await rig.found() is None
    rig.clock.advance(1)
    assert await rig.bounced("b@example.net", suspicion=True) == [BOUNCED]
    assert await rig.bounced(suspicion=True) == [BOUNCED, ADDED]
    assert await rig.found() is not None


async def test_a_success_in_between_clears_a_suspicion(rig: Rig) -> None:
    await rig.bounced(suspicion=True)
    rig.clock.advance(DAY)
    await rig.delivered()
    assert await rig.bounced(suspicion=True) == [BOUNCED]
    assert await rig.found() is None


async def test_a_deferral_does_not_clear_a_suspicion(rig: Rig) -> None:
    await rig.bounced(suspicion=True)
    claimed = await rig.claimed()
    await rig.store.settle(settled(claimed, State.QUEUED, retry_in=2 * DAY))
    rig.clock.advance(DAY)
    assert await rig.bounced(suspicion=True) == [BOUNCED, ADDED]


# late bounces


async def test_a_delivery_is_found_in_every_state_and_nothing_else_is(rig: Rig) -> None:
    new = await rig.accept()
    delivery = new.deliveries[0]
    assert await rig.store.file(delivery.id) == Filed(new.message, delivery)
    (claimed,) = await rig.store.claim(1)
    await rig.store.settle(settled(claimed, State.DELIVERED))
    filed = await rig.store.file(delivery.id)
    assert filed is not None
    assert (filed.delivery.state, filed.delivery.last_reply, filed.delivery.attempts) == (State.DELIVERED, OK, 1)
    assert await rig.store.file("nothing") is None


async def test_a_late_bounce_moves_the_delivery_once_and_keeps_what_the_report_said(rig: Rig) -> None:
    claimed = await rig.delivered()
    late = rig.late(claimed, suppression=rig.entry())
    assert types(await rig.store.settle_late(late)) == [BOUNCED, ADDED]
    filed = await rig.store.file(claimed.delivery.id)
    assert filed is not None
    assert (filed.delivery.state, filed.delivery.last_reply, filed.delivery.attempts) == (State.BOUNCED, NOBODY, 1)
    assert await rig.found() is not None
    assert await rig.store.settle_late(rig.late(claimed, suppression=rig.entry())) is None
    assert await rig.store.claim(10) == []


async def test_a_late_bounce_needs_no_lease_of_its_own(rig: Rig) -> None:
    claimed = await rig.delivered()
    other = await rig.open()
    assert types(await other.settle_late(rig.late(claimed))) == [BOUNCED]


async def test_a_late_bounce_sends_its_dsn(rig: Rig) -> None:
    claimed = await rig.delivered()
    dsn = rig.letters.new(["app@example.com"], sender="")
    await rig.store.settle_late(replace(rig.late(claimed), dsn=dsn))
    await rig.store.settle_late(replace(rig.late(claimed), dsn=rig.letters.new(["app@example.com"], sender="")))
    (letter,) = await rig.store.claim(10)
    assert letter.message == dsn.message


@pytest.mark.parametrize("state", sorted(MOVES[State.ACTIVE] - {State.DELIVERED}))
async def test_only_what_was_delivered_can_bounce_late_or_be_complained_of(rig: Rig, state: State) -> None:
    claimed = await rig.claimed()
    await rig.store.settle(settled(claimed, state, retry_in=DAY))
    assert await rig.store.settle_late(rig.late(claimed, suppression=rig.entry())) is None
    assert await rig.store.complain(rig.complaint(claimed.delivery.id)) is None
    filed = await rig.store.file(claimed.delivery.id)
    assert filed is not None
    assert (filed.delivery.state, await rig.found()) == (state, None)


async def test_a_report_that_overtakes_the_success_it_follows_has_to_be_told_again(rig: Rig) -> None:
    claimed = await rig.claimed()
    with pytest.raises(StoreUnavailable):
        await rig.store.settle_late(rig.late(claimed))
    with pytest.raises(StoreUnavailable):
        await rig.store.complain(rig.complaint(claimed.delivery.id))
    await rig.store.settle(rig.told(claimed, State.DELIVERED))
    assert types(await rig.store.complain(rig.complaint(claimed.delivery.id))) == [COMPLAINED, ADDED]
    assert types(await rig.store.settle_late(rig.late(claimed))) == [BOUNCED]


async def test_nothing_is_known_of_a_late_bounce_of_an_unknown_delivery(rig: Rig) -> None:
    claimed = await rig.delivered()
    unknown = replace(claimed, delivery=replace(claimed.delivery, id="nothing"))
    assert await rig.store.settle_late(rig.late(unknown)) is None


@pytest.mark.parametrize("state", sorted(set(State) - MOVES[State.DELIVERED]))
async def test_a_late_move_that_does_not_exist_is_refused(rig: Rig, state: State) -> None:
    claimed = await rig.delivered()
    late = rig.late(claimed)
    with pytest.raises(ValueError, match="cannot go from delivered"):
        await rig.store.settle_late(replace(late, settlement=replace(late.settlement, state=state)))


# complaints


async def test_a_complaint_suppresses_and_counts_once(rig: Rig) -> None:
    claimed = await rig.delivered()
    assert types(await rig.store.complain(rig.complaint(claimed.delivery.id))) == [COMPLAINED, ADDED]
    assert await rig.store.complain(rig.complaint(claimed.delivery.id)) is None
    assert await counted(rig) == Tally(delivered=1, ended=1, complained=1)
    entry = await rig.found()
    assert entry is not None
    assert entry.cause is Cause.COMPLAINT


async def test_a_complaint_of_somebody_on_the_list_counts_and_leaves_the_entry(rig: Rig) -> None:
    first, second = await rig.delivered(), await rig.delivered()
    await rig.store.settle_late(rig.late(first, suppression=rig.entry()))
    assert types(await rig.store.complain(rig.complaint(second.delivery.id))) == [COMPLAINED]
    entry = await rig.found()
    assert entry is not None
    assert entry.cause is Cause.HARD_BOUNCE


async def test_what_bounced_late_may_still_be_complained_of(rig: Rig) -> None:
    claimed = await rig.delivered()
    await rig.store.settle_late(rig.late(claimed))
    assert types(await rig.store.complain(rig.complaint(claimed.delivery.id))) == [COMPLAINED, ADDED]


async def test_a_delivery_that_was_forgotten_may_be_complained_of_once(rig: Rig) -> None:
    assert types(await rig.store.complain(rig.complaint("forgotten"))) == [COMPLAINED, ADDED]
    assert await rig.store.complain(rig.complaint("forgotten")) is None
    assert await counted(rig) == Tally(complained=1)


# notes


def note(rig: Rig, kind: str, delivery_id: str | None = None, text: str = "") -> ReturnNote:
    """A note of a report."""
    return ReturnNote(rig.letters.ids.next(), rig.clock.now(), kind, delivery_id, text=text, effect="applied")


async def test_a_note_is_kept_with_all_that_is_known(rig: Rig) -> None:
    full = ReturnNote(
        id=rig.letters.ids.next(),
        at=rig.clock.now(),
        kind="bounce",
        delivery_id="d",
        queue_id="q",
        account="app",
        stream="bulk",
        recipient="a@example.net",
        reason="bad_mailbox",
        hardness="hard",
        text="550 5.1.1 no such user",
        effect="applied",
    )
    await rig.store.note(full)
    assert await rig.notes() == [full]


async def test_of_a_delivery_one_note_of_each_kind_is_kept(rig: Rig) -> None:
    first, other = note(rig, "bounce", "d", "first"), note(rig, "complaint", "d")
    for one in (first, other, note(rig, "bounce", "d", "again")):
        await rig.store.note(one)
    elsewhere = note(rig, "bounce", "e")
    await rig.store.note(elsewhere)
    assert await rig.notes() == [elsewhere, other, first]


async def test_every_note_of_no_delivery_is_kept(rig: Rig) -> None:
    notes = [note(rig, "complaint") for _ in range(3)]
    for one in notes:
        await rig.store.note(one)
        rig.clock.advance(1)
    assert await rig.notes() == notes[::-1]


# counts


@pytest.mark.parametrize(
    ("state", "hardness", "tally"),
    [
        (State.DELIVERED, None, Tally(delivered=1, ended=1)),
        (State.BOUNCED, "hard", Tally(ended=1, hard_bounced=1)),
        (State.BOUNCED, "soft", Tally(ended=1)),
        (State.EXPIRED, "soft", Tally(ended=1)),
        (State.SUPPRESSED, None, Tally()),
        (State.CANCELLED, None, Tally()),
        (State.HELD, None, Tally()),
        (State.QUEUED, "soft", Tally()),
    ],
)
async def test_what_a_delivery_comes_to_is_counted_with_it(
    rig: Rig, state: State, hardness: str | None, tally: Tally
) -> None:
    claimed = await rig.claimed()
    await rig.store.settle(rig.told(claimed, state, hardness=hardness, retry_in=DAY))
    assert await counted(rig) == tally


async def test_counts_add_up_by_slot_and_are_read_from_one_on(rig: Rig) -> None:
    first = slot_of(rig.clock.now())
    for _ in range(3):
        await rig.delivered()
    rig.clock.advance(timedelta(minutes=25))
    await rig.bounced()
    three, one = Tally(delivered=3, ended=3), Tally(ended=1, hard_bounced=1)
    assert list(await rig.store.book.slots(STREAM, first)) == [(first, three), (first + 2, one)]
    assert list(await rig.store.book.slots(STREAM, first + 1)) == [(first + 2, one)]
    assert await counted(rig, Standing("app", "bulk")) == Tally()
    assert await counted(rig, Standing("other", "transactional")) == Tally()


async def test_a_late_bounce_takes_back_the_success(rig: Rig) -> None:
    claimed = await rig.delivered()
    for _ in range(2):
        await rig.store.settle_late(rig.late(claimed))
    assert await counted(rig) == Tally(delivered=0, ended=1, hard_bounced=1)


async def test_a_lost_lease_counts_nothing(rig: Rig) -> None:
    claimed = await rig.claimed()
    rig.clock.advance(rig.store.lease)
    other = await rig.open()
    (again,) = await other.claim(1)
    await rig.store.settle(rig.told(claimed, State.DELIVERED))
    await other.settle(rig.told(again, State.DELIVERED))
    assert await counted(rig) == Tally(delivered=1, ended=1)


async def test_an_event_of_no_account_counts_nowhere(rig: Rig) -> None:
    new = rig.letters.new()
    await rig.store.accept(new, [Event("0", rig.clock.now(), EventType.DELIVERED, stream="transactional")])
    await rig.store.accept(rig.letters.new(), [Event("1", rig.clock.now(), EventType.DELIVERED, account="app")])
    assert await counted(rig, Standing("app", "")) == Tally()


# standings


def moved(rig: Rig, standing: Standing, type: EventType = EventType.SUSPENDED) -> Event:
    """The event that tells of a move."""
    return Event(rig.letters.ids.next(), rig.clock.now(), type, account=standing.account)


async def test_standings_are_written_and_read_by_everybody(rig: Rig) -> None:
    assert list(await rig.store.book.standings()) == []
    bulk = Standing("app", "bulk", StandingState.WARNED, "12 %", rig.clock.now())
    whole = Standing("app", "", StandingState.SUSPENDED, "abuse", rig.clock.now(), by="root")
    await rig.store.book.write(bulk, moved(rig, bulk))
    await rig.store.book.write(whole, None)
    assert list(await (await rig.open()).book.standings()) == [whole, bulk]
    suspended = replace(bulk, state=StandingState.SUSPENDED, reason="20 %")
    await rig.store.book.write(suspended, moved(rig, suspended))
    assert list(await rig.store.book.standings()) == [whole, suspended]


async def test_a_reinstated_stream_begins_to_count_anew(rig: Rig) -> None:
    await rig.bounced()
    anew = replace(STREAM, epoch=1, by="root")
    await rig.store.book.write(anew, moved(rig, anew, EventType.REINSTATED))
    await rig.delivered("b@example.net")
    assert await counted(rig, anew) == Tally(delivered=1, ended=1)
    assert await counted(rig, STREAM) == Tally(ended=1, hard_bounced=1)
    assert await counted(rig, Standing("app", "")) == Tally(delivered=1, ended=1)


async def test_the_account_as_a_whole_counts_all_its_streams_and_begins_anew_in_each(rig: Rig) -> None:
    await rig.bounced()
    bulk = rig.letters.new(["b@example.net"])
    await rig.store.accept(bulk, [replace(moved(rig, STREAM, EventType.DELIVERED), stream="bulk")])
    assert await counted(rig, Standing("app", "")) == Tally(delivered=1, ended=2, hard_bounced=1)
    suspended = Standing("app", "bulk", StandingState.SUSPENDED, "abuse", rig.clock.now(), by="root")
    await rig.store.book.write(suspended, None)
    anew = Standing("app", "", epoch=1, by="root")
    await rig.store.book.write(anew, None)
    assert await counted(rig, anew) == Tally()
    # what a stream is suspended for is another matter
    assert list(await rig.store.book.standings()) == [
        anew,
        replace(suspended, epoch=1),
        replace(STREAM, epoch=1),
    ]
    await rig.delivered("c@example.net")
    assert await counted(rig, anew) == await counted(rig, replace(STREAM, epoch=1)) == Tally(delivered=1, ended=1)


async def test_who_judged_by_counts_before_a_reinstatement_is_refused(rig: Rig) -> None:
    anew = replace(STREAM, epoch=1, by="root")
    await rig.store.book.write(anew, None)
    stale = replace(STREAM, state=StandingState.SUSPENDED, reason="20 %")
    with pytest.raises(StoreUnavailable, match="somebody else"):
        await rig.store.book.write(stale, moved(rig, stale))
    assert list(await rig.store.book.standings()) == [anew]


async def test_two_workers_suspend_once_and_an_operators_word_stands(rig: Rig) -> None:
    suspended = replace(STREAM, state=StandingState.SUSPENDED, reason="20 %")
    await rig.store.book.write(suspended, moved(rig, suspended))
    with pytest.raises(StoreUnavailable, match="somebody else"):
        await (await rig.open()).book.write(suspended, moved(rig, suspended))
    by_hand = replace(suspended, reason="abuse", by="root")
    await rig.store.book.write(by_hand, moved(rig, by_hand))
    assert list(await rig.store.book.standings()) == [by_hand]
