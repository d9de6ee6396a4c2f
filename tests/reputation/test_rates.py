"""Ratios against limits: each at its border, in each volume, over windows whose slots come and go."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mta.events import Event, EventType
from mta.reputation.rates import (
    SLOT,
    Judgement,
    Limit,
    Limits,
    Measure,
    Tally,
    fold,
    judge,
    slot_of,
    tally_of,
)

DAY, WEEK = timedelta(days=1), timedelta(days=7)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LIMITS = Limits(
    windows=(DAY, WEEK),
    bounces=Limit(warn=0.05, suspend=0.10),
    complaints=Limit(warn=0.001, suspend=0.002),
    min_volume=500,
    warn_min_volume=100,
)
GOOD, WARN, SUSPEND = Judgement.GOOD, Judgement.WARN, Judgement.SUSPEND


def judged(tally: Tally, measure: Measure, limits: Limits = LIMITS) -> Judgement:
    """Judge the same counts in a day."""
    only = dataclasses.replace(limits, windows=(DAY,))
    return next(each.judgement for each in judge({DAY: tally}, only) if each.measure is measure)


@pytest.mark.parametrize(
    ("hard", "ended", "judgement"),
    [
        (100, 1000, SUSPEND),
        (99, 1000, WARN),
        (50, 1000, WARN),
        (49, 1000, GOOD),
        (50, 500, SUSPEND),
        (50, 501, WARN),
        (50, 499, WARN),
        (499, 499, WARN),
        (5, 100, WARN),
        (4, 100, GOOD),
        (99, 99, GOOD),
        (0, 0, GOOD),
        (1000, 1000, SUSPEND),
        # late bounces of what was delivered before the window began
        (600, 500, SUSPEND),
        (3, 0, GOOD),
    ],
)
def test_hard_bounces_suspend_when_they_reach_their_limit(hard: int, ended: int, judgement: Judgement) -> None:
    tally = Tally(delivered=max(0, ended - hard), ended=ended, hard_bounced=hard)
    assert judged(tally, Measure.BOUNCES) is judgement


@pytest.mark.parametrize(
    ("complained", "delivered", "judgement"),
    [
        (2, 1000, WARN),
        (3, 1000, SUSPEND),
        (3, 1499, SUSPEND),
        (3, 1500, WARN),
        (1, 1000, GOOD),
        (1, 999, WARN),
        (1, 500, WARN),
        (2, 500, SUSPEND),
        (499, 499, WARN),
        (1, 100, WARN),
        (99, 99, GOOD),
        (0, 100_000, GOOD),
        (5, 0, GOOD),
        (5, -5, GOOD),
    ],
)
def test_complaints_suspend_when_they_exceed_their_limit(complained: int, delivered: int, judgement: Judgement) -> None:
    tally = Tally(delivered=delivered, ended=max(0, delivered), complained=complained)
    assert judged(tally, Measure.COMPLAINTS) is judgement


@given(st.integers(1, 999), st.integers(1, 1000))
def test_a_limit_means_what_the_operator_wrote_and_not_its_nearest_float(thousandths: int, times: int) -> None:
    exact = Limit(warn=thousandths / 10_000, suspend=float(f"0.{thousandths:03}"))
    limits = dataclasses.replace(LIMITS, bounces=exact, complaints=exact)
    part, whole = thousandths * times, 1000 * times
    tally = Tally(delivered=whole, ended=whole, hard_bounced=part, complained=part)
    assert judged(tally, Measure.BOUNCES, limits) is SUSPEND
    assert judged(tally, Measure.COMPLAINTS, limits) is WARN
    less, more = replace(tally, hard_bounced=part - 1), replace(tally, complained=part + 1)
    assert judged(less, Measure.BOUNCES, limits) is not SUSPEND
    assert judged(more, Measure.COMPLAINTS, limits) is SUSPEND


def test_each_measure_is_judged_in_each_window_and_the_worst_comes_first() -> None:
    day = Tally(delivered=900, ended=1000, hard_bounced=60)
    week = Tally(delivered=9000, ended=9100, hard_bounced=60, complained=19)
    found = judge({DAY: day, WEEK: week}, LIMITS)
    assert [(each.measure, each.window, each.judgement) for each in found] == [
        (Measure.COMPLAINTS, WEEK, SUSPEND),
        (Measure.BOUNCES, DAY, WARN),
        (Measure.BOUNCES, WEEK, GOOD),
        (Measure.COMPLAINTS, DAY, GOOD),
    ]


def test_of_two_suspensions_the_one_further_above_its_limit_is_told() -> None:
    tally = Tally(delivered=850, ended=1000, hard_bounced=150, complained=4)
    first, second = judge({DAY: tally}, dataclasses.replace(LIMITS, windows=(DAY,)))
    assert (first.measure, second.measure) == (Measure.COMPLAINTS, Measure.BOUNCES)
    assert first.exceeded == 0.002


@pytest.mark.parametrize(
    ("hard", "ended", "limit"), [(100, 1000, 0.10), (60, 1000, 0.05), (10, 1000, 0.10), (100, 400, 0.05)]
)
def test_evidence_speaks_of_the_limit_that_its_judgement_rests_on(hard: int, ended: int, limit: float) -> None:
    evidence = next(each for each in judge({DAY: Tally(ended=ended, hard_bounced=hard)}, LIMITS) if each.part)
    assert evidence.exceeded == limit
    assert evidence.ratio == hard / ended


def test_a_window_without_counts_is_good_and_its_ratio_is_nothing() -> None:
    assert {(each.judgement, each.ratio) for each in judge({}, LIMITS)} == {(GOOD, 0.0)}


def test_late_bounces_of_what_was_delivered_before_the_window_make_no_volume_below_nothing() -> None:
    complaints = next(each for each in judge({DAY: Tally(delivered=-7)}, LIMITS) if each.measure is Measure.COMPLAINTS)
    assert (complaints.whole, complaints.ratio, complaints.judgement) == (0, 0.0, GOOD)


# what an event adds


def event(kind: EventType, hardness: str | None = None, **detail: str | bool) -> Event:
    return Event("e", NOW, kind, "app", "bulk", hardness=hardness, detail=detail)


@pytest.mark.parametrize(
    ("told", "tally"),
    [
        (event(EventType.DELIVERED), Tally(delivered=1, ended=1)),
        (event(EventType.BOUNCED, "hard"), Tally(ended=1, hard_bounced=1)),
        (event(EventType.BOUNCED, "soft"), Tally(ended=1)),
        (event(EventType.BOUNCED), Tally(ended=1)),
        (event(EventType.BOUNCED, "hard", breaker=True), None),
        (event(EventType.BOUNCED, "hard", late="report"), Tally(delivered=-1, hard_bounced=1)),
        (event(EventType.BOUNCED, "soft", late="report"), Tally(delivered=-1)),
        # it says what the last refusal was like, and yet nobody refused for good
        (event(EventType.EXPIRED, "hard"), Tally(ended=1)),
        (event(EventType.COMPLAINED), Tally(complained=1)),
        (event(EventType.DELIVERED, notification=True), None),
        (event(EventType.BOUNCED, "hard", notification=True), None),
        (event(EventType.ACCEPTED), None),
        (event(EventType.DEFERRED, "hard"), None),
        (event(EventType.SUPPRESSED), None),
        (event(EventType.CANCELLED), None),
        (event(EventType.HELD), None),
        (event(EventType.SUPPRESSION_ADDED), None),
    ],
)
def test_what_an_event_adds_to_the_counts(told: Event, tally: Tally | None) -> None:
    assert tally_of(told) == tally


def test_a_late_bounce_leaves_what_a_bounce_at_once_would_have_left() -> None:
    late = (tally_of(event(EventType.DELIVERED)), tally_of(event(EventType.BOUNCED, "hard", late="report")))
    assert sum(filter(None, late), Tally()) == tally_of(event(EventType.BOUNCED, "hard"))


# windows


@pytest.mark.parametrize(
    ("later", "slots"),
    [
        (timedelta(0), 0),
        (SLOT - timedelta(microseconds=1), 0),
        (SLOT, 1),
        (DAY, 144),
        (-timedelta(microseconds=1), -1),
    ],
)
def test_a_slot_is_ten_minutes_from_its_first_to_before_its_last(later: timedelta, slots: int) -> None:
    assert slot_of(NOW + later) - slot_of(NOW) == slots


@pytest.mark.parametrize(
    ("age", "in_day", "in_week"),
    [
        (timedelta(0), 1, 1),
        (DAY - SLOT, 1, 1),
        # its slot has left the day whole
        (DAY, 0, 1),
        (WEEK - SLOT, 0, 1),
        (WEEK, 0, 0),
        # another worker's clock is ahead: it counts when ours is there
        (-SLOT, 0, 0),
    ],
)
def test_a_slot_counts_until_it_has_left_the_window(age: timedelta, in_day: int, in_week: int) -> None:
    sums = fold([(slot_of(NOW - age), Tally(delivered=1))], (DAY, WEEK), NOW)
    assert sums == {DAY: Tally(delivered=in_day), WEEK: Tally(delivered=in_week)}


@pytest.mark.parametrize(
    ("window", "slots"),
    [(timedelta(minutes=1), 1), (SLOT, 1), (timedelta(minutes=11), 2), (timedelta(hours=1), 6), (DAY, 144)],
)
def test_a_window_that_is_no_multiple_of_a_slot_is_rounded_up(window: timedelta, slots: int) -> None:
    last = slot_of(NOW)
    every = [(last - back, Tally(ended=1)) for back in range(200)]
    assert fold(every, (window,), NOW)[window].ended == slots


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9)), max_size=20), st.integers(1, 300))
def test_a_window_is_the_sum_of_its_slots(told: list[tuple[int, int]], width: int) -> None:
    last = slot_of(NOW)
    slots = [(last - back, Tally(delivered=count, complained=count)) for back, count in told]
    expected = sum(count for back, count in told if back < width)
    window = width * SLOT
    assert fold(slots, (window,), NOW) == {window: Tally(delivered=expected, complained=expected)}
