"""When a delivery is tried again, when its submitter hears that it is late, and when it is given up."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import Recipient
from mta.queue.model import Delivery, Message, State, Stream
from mta.queue.schedule import JITTER, Schedule

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
INTERVALS = (5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 4 * HOUR)
SCHEDULE = Schedule(INTERVALS, {Stream.TRANSACTIONAL: 4 * DAY, Stream.BULK: 1 * DAY}, delay_notice_after=4 * HOUR)
MESSAGE = Message(
    id="m",
    accepted_at=NOW,
    account="shop",
    stream=Stream.TRANSACTIONAL,
    reverse_path=ReversePath(Mailbox.parse("a@example.com")),
    from_domain="example.com",
    message_id="<1@example.com>",
    size=1,
    checksum=b"",
    body_hash=b"",
)
DELIVERY = Delivery("d", "m", Recipient(Mailbox.parse("b@example.net")), State.ACTIVE, NOW, None, attempts=1)


class Die(random.Random):
    """A die that always shows the same."""

    def __init__(self, shows: float) -> None:
        super().__init__()
        self._shows = shows

    def random(self) -> float:
        return self._shows


MIDDLE = Die(0.5)


@pytest.mark.parametrize(
    ("attempts", "wait"),
    [
        (1, 5 * MINUTE),
        (2, 10 * MINUTE),
        (3, 20 * MINUTE),
        (4, 4 * HOUR),
        (5, 4 * HOUR),
        (1000, 4 * HOUR),
        # nothing has failed yet, as after a release: the first interval, not the last
        (0, 5 * MINUTE),
    ],
)
def test_each_failed_attempt_has_its_interval_and_the_last_repeats(attempts: int, wait: timedelta) -> None:
    assert SCHEDULE.next_attempt(MESSAGE, replace(DELIVERY, attempts=attempts), NOW, MIDDLE) == wait


@pytest.mark.parametrize(
    ("die", "factor"), [(0.0, 1 - JITTER), (0.5, 1.0), (0.75, 1 + JITTER / 2), (0.9999999, 1 + JITTER)]
)
def test_jitter_moves_a_wait_by_a_tenth_at_most(die: float, factor: float) -> None:
    wait = SCHEDULE.next_attempt(MESSAGE, DELIVERY, NOW, Die(die))
    assert wait is not None
    assert wait / (5 * MINUTE) == pytest.approx(factor, abs=1e-6)


@given(st.integers(0, 50), st.integers(0, 2**32))
def test_a_wait_is_positive_within_its_jitter_and_ends_at_the_expiry_at_last(attempts: int, seed: int) -> None:
    delivery = replace(DELIVERY, attempts=attempts)
    wait = SCHEDULE.next_attempt(MESSAGE, delivery, NOW, random.Random(seed))
    assert wait is not None
    interval = INTERVALS[min(max(attempts, 1), 4) - 1]
    assert interval * (1 - JITTER) <= wait <= interval * (1 + JITTER)


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        (4 * DAY - 6 * MINUTE, 5 * MINUTE),
        (4 * DAY - 5 * MINUTE, 5 * MINUTE),
        (4 * DAY - 3 * MINUTE, 3 * MINUTE),
        (4 * DAY - timedelta(microseconds=1), timedelta(microseconds=1)),
        (4 * DAY, None),
        (40 * DAY, None),
    ],
)
def test_the_last_attempt_is_made_at_the_expiry_and_none_after_it(age: timedelta, wait: timedelta | None) -> None:
    assert SCHEDULE.next_attempt(MESSAGE, DELIVERY, NOW + age, MIDDLE) == wait


@given(st.integers(0, 2**32))
def test_every_delivery_is_given_up_after_a_bounded_number_of_attempts(seed: int) -> None:
    dice, now, delivery = random.Random(seed), NOW, DELIVERY
    for attempt in range(1, 200):
        wait = SCHEDULE.next_attempt(MESSAGE, replace(delivery, attempts=attempt), now, dice)
        if wait is None:
            break
        now += wait
    else:
        pytest.fail("never given up")
    assert now == NOW + 4 * DAY
    assert attempt < 40


@pytest.mark.parametrize(
    ("message", "delivery", "expires"),
    [
        ({}, {}, NOW + 4 * DAY),
        ({"stream": Stream.BULK}, {}, NOW + 1 * DAY),
        ({"release_at": NOW + 2 * DAY}, {}, NOW + 6 * DAY),
        ({}, {"held_for": 3 * DAY}, NOW + 7 * DAY),
        ({"release_at": NOW + DAY}, {"held_for": DAY}, NOW + 6 * DAY),
        ({"expires_at": NOW + HOUR}, {}, NOW + HOUR),
        ({"expires_at": NOW + HOUR}, {"held_for": 3 * DAY}, NOW + HOUR),
        ({"expires_at": NOW + 9 * DAY}, {}, NOW + 4 * DAY),
        ({"expires_at": NOW + 9 * DAY}, {"held_for": 9 * DAY}, NOW + 9 * DAY),
    ],
)
def test_time_held_and_time_before_a_release_are_no_age(
    message: dict[str, object], delivery: dict[str, object], expires: datetime
) -> None:
    mine = replace(MESSAGE, **message)
    yours = replace(DELIVERY, **delivery)
    assert SCHEDULE.expires_at(mine, yours) == expires
    assert SCHEDULE.next_attempt(mine, yours, expires, MIDDLE) is None
    assert SCHEDULE.next_attempt(mine, yours, expires - MINUTE, MIDDLE) == MINUTE


@pytest.mark.parametrize(
    ("message", "delivery", "late_from"),
    [
        ({}, {}, NOW + 4 * HOUR),
        ({"release_at": NOW + DAY}, {}, NOW + DAY + 4 * HOUR),
        ({}, {"held_for": DAY}, NOW + DAY + 4 * HOUR),
        ({"expires_at": NOW + HOUR}, {}, NOW + 4 * HOUR),
    ],
)
def test_a_delivery_is_late_from_one_instant_on(
    message: dict[str, object], delivery: dict[str, object], late_from: datetime
) -> None:
    mine = replace(MESSAGE, **message)
    yours = replace(DELIVERY, **delivery)
    assert SCHEDULE.is_late(mine, yours, late_from)
    assert not SCHEDULE.is_late(mine, yours, late_from - timedelta(microseconds=1))


def test_a_schedule_without_intervals_is_refused() -> None:
    with pytest.raises(ValueError, match="one interval at least"):
        Schedule((), {Stream.TRANSACTIONAL: DAY, Stream.BULK: DAY}, HOUR)
