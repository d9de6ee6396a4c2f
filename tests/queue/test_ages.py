"""By what time mail gets old when somebody sets the clock."""

from datetime import UTC, datetime, timedelta

from mta.queue.ages import Ages

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def test_time_that_passes_passes() -> None:
    ages = Ages(NOON, 0.0)
    assert ages.at(NOON + DAY, DAY.total_seconds()) == NOON + DAY
    assert not ages.in_doubt


def test_small_corrections_are_followed_both_ways() -> None:
    ages = Ages(NOON, 0.0)
    assert ages.at(NOON + 4 * MINUTE, 1.0) == NOON + 4 * MINUTE
    assert ages.at(NOON, 2.0) == NOON


def test_a_leap_ahead_is_not_believed_at_once_and_is_over_when_it_is_taken_back() -> None:
    ages = Ages(NOON, 0.0)
    assert ages.at(NOON + DAY, 60.0) == NOON + MINUTE
    assert ages.at(NOON + DAY + MINUTE, 120.0) == NOON + 2 * MINUTE
    assert ages.in_doubt
    assert ages.at(NOON + 3 * MINUTE, 180.0) == NOON + 3 * MINUTE
    assert not ages.in_doubt


def test_a_leap_that_stands_for_an_hour_is_believed() -> None:
    ages = Ages(NOON, 0.0)
    ages.at(NOON + DAY, 60.0)
    after = NOON + DAY + timedelta(hours=1)
    assert ages.at(after, 3660.0) == after
    assert not ages.in_doubt


def test_a_step_back_makes_everything_younger() -> None:
    ages = Ages(NOON, 0.0)
    assert ages.at(NOON - DAY, 60.0) == NOON - DAY
    assert ages.at(NOON - DAY + MINUTE, 120.0) == NOON - DAY + MINUTE
