"""What an attempt means: each outcome, for each kind of submitter, at each age."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mta.events import EventType
from mta.mail import failures
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import DEFAULT_NOTIFY, Notify, Recipient
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, Try
from mta.mail.reply import Reply
from mta.queue.hints import Hint
from mta.queue.model import MOVES, Claimed, Delivery, Message, State, Stream
from mta.queue.schedule import Schedule
from mta.queue.settle import delayed, expired, held, settle
from mta.queue.sites import Said

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SCHEDULE = Schedule((5 * MINUTE, HOUR), {Stream.TRANSACTIONAL: 4 * DAY, Stream.BULK: 4 * DAY}, 4 * HOUR)
CLIENT = ReversePath(Mailbox.parse("a@example.com"))
NOBODY = ReversePath(None)

OK = Reply.of(250, "2.0.0", "Taken")
LATER = Reply.of(450, "4.7.1", "Greylisted")
NEVER = Reply.of(550, "5.1.1", "No such user")
OUTCOMES: dict[str, Outcome] = {"delivered": Delivered(OK), "deferred": Deferred(LATER), "bounced": Bounced(NEVER)}
YOUNG, LATE, OLD = HOUR, 5 * HOUR, 4 * DAY


def claimed(
    reverse_path: ReversePath = CLIENT, notify: frozenset[Notify] = DEFAULT_NOTIFY, delay_noticed: bool = False
) -> Claimed:
    message = Message(
        id="m",
        accepted_at=NOW,
        account="shop",
        stream=Stream.TRANSACTIONAL,
        reverse_path=reverse_path,
        from_domain="example.com",
        message_id="<1@example.com>",
        size=1,
        checksum=b"",
        body_hash=b"",
    )
    recipient = Recipient(Mailbox.parse("b@example.net"), notify)
    delivery = Delivery("d", "m", recipient, State.ACTIVE, NOW, None, attempts=1, delay_noticed=delay_noticed)
    return Claimed(message, delivery, NOW + MINUTE)


def tried(host: str, reply: Reply, remote: bool = True) -> Try:
    return Try(host, "192.0.2.1", 25, "rcpt", reply, remote)


@pytest.mark.parametrize(
    ("outcome", "age", "state", "event"),
    [
        ("delivered", YOUNG, State.DELIVERED, EventType.DELIVERED),
        ("delivered", OLD, State.DELIVERED, EventType.DELIVERED),
        ("bounced", YOUNG, State.BOUNCED, EventType.BOUNCED),
        ("bounced", OLD, State.BOUNCED, EventType.BOUNCED),
        ("deferred", YOUNG, State.QUEUED, EventType.DEFERRED),
        ("deferred", LATE, State.QUEUED, EventType.DEFERRED),
        ("deferred", OLD, State.EXPIRED, EventType.EXPIRED),
    ],
)
def test_an_outcome_at_an_age_leads_to_a_state_and_an_event(
    outcome: str, age: timedelta, state: State, event: EventType
) -> None:
    settlement = settle(claimed(), OUTCOMES[outcome], SCHEDULE, NOW + age, random.Random(1))
    assert (settlement.state, settlement.event) == (state, event)
    assert settlement.reply == OUTCOMES[outcome].reply
    assert settlement.attempted
    assert (settlement.retry_in is not None) == (state is State.QUEUED)
    assert state in MOVES[State.ACTIVE]


@pytest.mark.parametrize(
    ("age", "state", "is_told"),
    [
        (YOUNG, State.QUEUED, False),
        (LATE, State.QUEUED, True),
        (OLD - MINUTE, State.QUEUED, True),
        (OLD, State.EXPIRED, True),
    ],
)
def test_age_notices_and_expiry_count_from_the_release(age: timedelta, state: State, is_told: bool) -> None:
    waiting = claimed()
    held_back = replace(waiting, message=replace(waiting.message, release_at=NOW + 9 * DAY))
    settlement = settle(held_back, Deferred(LATER), SCHEDULE, NOW + 9 * DAY + age, random.Random(1))
    assert (settlement.state, settlement.notice is not None) == (state, is_told)
    if settlement.notice is not None and state is State.QUEUED:
        assert settlement.notice.will_retry_until == NOW + 13 * DAY


@pytest.mark.parametrize(
    ("outcome", "age", "told"),
    [
        ("delivered", YOUNG, (Notify.SUCCESS, State.DELIVERED)),
        ("delivered", OLD, (Notify.SUCCESS, State.DELIVERED)),
        ("bounced", YOUNG, (Notify.FAILURE, State.BOUNCED)),
        ("deferred", YOUNG, None),
        ("deferred", LATE, (Notify.DELAY, State.QUEUED)),
        ("deferred", OLD, (Notify.FAILURE, State.EXPIRED)),
    ],
)
@pytest.mark.parametrize(
    "notify",
    [
        DEFAULT_NOTIFY,
        frozenset({Notify.NEVER}),
        frozenset({Notify.SUCCESS}),
        frozenset({Notify.FAILURE}),
        frozenset({Notify.DELAY}),
        frozenset({Notify.SUCCESS, Notify.FAILURE, Notify.DELAY}),
        frozenset(),
    ],
    ids=lambda notify: "+".join(sorted(notify)) or "nothing",
)
@pytest.mark.parametrize("reverse_path", [CLIENT, NOBODY], ids=["client", "null"])
def test_the_submitter_hears_what_notify_asks_for_and_the_null_reverse_path_nothing(
    outcome: str,
    age: timedelta,
    told: tuple[Notify, State] | None,
    notify: frozenset[Notify],
    reverse_path: ReversePath,
) -> None:
    one = claimed(reverse_path, notify)
    settlement = settle(one, OUTCOMES[outcome], SCHEDULE, NOW + age, random.Random(1))
    if told is None or reverse_path.is_null or told[0] not in notify:
        assert settlement.notice is None
        assert not settlement.delay_noticed
        return
    assert settlement.notice is not None
    assert settlement.notice.state is told[1]
    assert settlement.notice.reply == OUTCOMES[outcome].reply
    assert settlement.notice.claimed == one
    assert settlement.delay_noticed == (told[0] is Notify.DELAY)


def test_a_delay_is_told_once_and_says_until_when() -> None:
    first = settle(claimed(), Deferred(LATER), SCHEDULE, NOW + LATE, random.Random(1))
    assert first.notice is not None
    assert first.notice.will_retry_until == NOW + 4 * DAY
    second = settle(claimed(delay_noticed=True), Deferred(LATER), SCHEDULE, NOW + LATE, random.Random(1))
    assert second.notice is None
    assert second.delay_noticed


def test_who_heard_of_the_delay_hears_of_the_failure_too() -> None:
    settlement = settle(claimed(delay_noticed=True), Deferred(LATER), SCHEDULE, NOW + OLD, random.Random(1))
    assert settlement.notice is not None
    assert settlement.notice.state is State.EXPIRED


@pytest.mark.parametrize(
    ("tries", "host"),
    [
        ((), None),
        ((tried("one", LATER), tried("two", NEVER)), "two"),
        ((tried("one", NEVER), tried("two", LATER)), "one"),
        ((tried("one", NEVER), tried("two", NEVER)), "two"),
        ((tried("one", LATER),), None),
    ],
)
def test_a_notice_names_the_host_that_spoke_last_with_these_words(tries: tuple[Try, ...], host: str | None) -> None:
    settlement = settle(claimed(), Bounced(NEVER, tries), SCHEDULE, NOW, random.Random(1))
    assert settlement.notice is not None
    assert settlement.notice.remote_mta == host


@pytest.mark.parametrize("kind", [Delivered, Deferred, Bounced])
@pytest.mark.parametrize("age", [YOUNG, OLD])
def test_every_try_is_kept(kind: type[Delivered] | type[Deferred] | type[Bounced], age: timedelta) -> None:
    tries = (tried("one", failures.HOST_TIMEOUT, remote=False), tried("two", LATER))
    assert settle(claimed(), kind(LATER, tries), SCHEDULE, NOW + age, random.Random(1)).tries == tries


@pytest.mark.parametrize(("age", "state"), [(YOUNG, State.QUEUED), (OLD, State.EXPIRED)])
@pytest.mark.parametrize("in_doubt", [False, True])
def test_doubt_is_kept_and_never_ends_a_delivery_before_its_time(age: timedelta, state: State, in_doubt: bool) -> None:
    outcome = Deferred(failures.CONNECTION_LOST, in_doubt=in_doubt)
    settlement = settle(claimed(), outcome, SCHEDULE, NOW + age, random.Random(1))
    assert (settlement.state, settlement.in_doubt) == (state, in_doubt)


@pytest.mark.parametrize(("attempts", "wait"), [(1, 5 * MINUTE), (2, HOUR), (9, HOUR)])
def test_the_wait_is_the_schedules(attempts: int, wait: timedelta) -> None:
    one = claimed()
    one = replace(one, delivery=replace(one.delivery, attempts=attempts))
    settlement = settle(one, Deferred(LATER), SCHEDULE, NOW, random.Random(7))
    assert settlement.retry_in == wait * (1 + 0.1 * (2 * random.Random(7).random() - 1))


@given(st.sampled_from(sorted(OUTCOMES)), st.timedeltas(timedelta(0), timedelta(days=10)), st.integers(0, 50))
def test_settling_is_total_and_waits_only_into_the_time_that_is_left(name: str, age: timedelta, attempts: int) -> None:
    one = claimed()
    one = replace(one, delivery=replace(one.delivery, attempts=attempts))
    settlement = settle(one, OUTCOMES[name], SCHEDULE, NOW + age, random.Random(1))
    assert settlement.state in MOVES[State.ACTIVE]
    if settlement.retry_in is not None:
        assert timedelta(0) < settlement.retry_in <= 4 * DAY - age
    assert (settlement.notice is None) == (
        settlement.event is EventType.DELIVERED or (settlement.event is EventType.DEFERRED and age < 4 * HOUR)
    )


def test_what_is_held_waits_without_an_attempt_and_without_a_notice() -> None:
    settlement = held(claimed(), "route hold: *.internal.example")
    assert (settlement.state, settlement.event) == (State.HELD, EventType.HELD)
    assert settlement.hold_reason == "route hold: *.internal.example"
    assert settlement.reply.is_transient
    assert (settlement.attempted, settlement.retry_in, settlement.notice) == (False, None, None)


@pytest.mark.parametrize(
    ("hint", "least", "most"), [(None, 4.5, 5.5), (20 * MINUTE, 20, 22), (MINUTE, 1, 1.1), (5 * DAY, 5760 - 60, 5760)]
)
def test_a_host_that_names_a_time_is_tried_again_then_and_at_the_expiry_at_last(
    hint: timedelta | None, least: float, most: float
) -> None:
    settlement = settle(
        claimed(), Deferred(LATER), SCHEDULE, NOW, random.Random(1), None if hint is None else Hint(hint)
    )
    assert settlement.retry_in is not None
    assert least * MINUTE <= settlement.retry_in <= most * MINUTE


def waiting(last: Reply | None, host: str | None = None, **delivery: Any) -> Claimed:
    one = claimed()
    return replace(one, delivery=replace(one.delivery, last_reply=last, last_host=host, **delivery))


GONE = Reply.of(421, "4.3.2", "closing down")


@pytest.mark.parametrize(
    ("last", "said", "told"),
    [
        (LATER, None, Said(LATER, "mx1.example.net")),
        # what others heard at its site while it rests is newer
        (LATER, Said(GONE, "mx2.example.net"), Said(GONE, "mx2.example.net")),
        (None, Said(GONE, "mx2.example.net"), Said(GONE, "mx2.example.net")),
        (None, Said(GONE), Said(GONE)),
        (None, None, None),
    ],
)
def test_what_is_not_attempted_any_more_is_told_of_with_what_was_heard_last(
    last: Reply | None, said: Said | None, told: Said | None
) -> None:
    one = waiting(last, None if last is None else "mx1.example.net")
    late = delayed(one, SCHEDULE, NOW + SCHEDULE.delay_notice_after, said)
    assert late is not None
    for settlement, ours in ((expired(one, said), failures.EXPIRED_WAITING), (late, failures.STILL_WAITING)):
        assert settlement.notice is not None
        expected = told or Said(ours)
        assert (settlement.reply, settlement.attempted) == (expected.reply, False)
        assert (settlement.notice.reply, settlement.notice.remote_mta) == (expected.reply, expected.host)


def test_a_notice_of_delay_says_until_when_it_is_tried_and_leaves_the_delivery_queued() -> None:
    one = waiting(LATER)
    settlement = delayed(one, SCHEDULE, NOW + SCHEDULE.delay_notice_after)
    assert settlement is not None
    assert settlement.notice is not None
    assert settlement.notice.will_retry_until == SCHEDULE.expires_at(one.message, one.delivery)
    assert (settlement.state, settlement.event) == (State.QUEUED, EventType.DELAYED_NOTICE)
    assert settlement.delay_noticed


NOT_ASKED = replace(waiting(LATER).delivery.recipient, notify=frozenset({Notify.FAILURE}))


@pytest.mark.parametrize(
    ("delivery", "before"),
    [
        ({}, timedelta(seconds=1)),
        ({"delay_noticed": True}, timedelta(0)),
        ({"held_for": timedelta(hours=1)}, timedelta(0)),
        ({"recipient": NOT_ASKED}, timedelta(0)),
    ],
    ids=["not late yet", "told already", "held meanwhile", "not wanted"],
)
def test_nobody_is_told_of_a_delay_too_early_twice_or_against_their_wish(
    delivery: dict[str, Any], before: timedelta
) -> None:
    now = NOW + SCHEDULE.delay_notice_after - before
    assert delayed(waiting(LATER, **delivery), SCHEDULE, now) is None


def test_nobody_is_told_of_a_delay_of_mail_from_the_null_reverse_path() -> None:
    one = waiting(LATER)
    one = replace(one, message=replace(one.message, reverse_path=ReversePath(None)))
    assert delayed(one, SCHEDULE, NOW + SCHEDULE.delay_notice_after) is None
