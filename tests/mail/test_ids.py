"""Identifiers: unique, in the order they were made, whatever the clock does."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.mail import ids
from mta.mail.ids import LENGTH, MAX_WORKER, IdSource

NOW = datetime(2025, 6, 2, 12, 0, tzinfo=UTC)


class HandClock:
    """A clock that stands where it is put."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


class HighDice(random.Random):
    """Dice that always show the most."""

    def getrandbits(self, k: int, /) -> int:
        return (1 << k) - 1


def source(clock: HandClock | None = None, worker: int = 1, seed: int = 1) -> IdSource:
    return IdSource(clock or HandClock(), worker, random.Random(seed))


@given(st.integers(0, (1 << 80) - 1))
def test_writing_and_reading_a_number_is_the_identity(number: int) -> None:
    text = ids.encode(number, LENGTH)
    assert len(text) == LENGTH
    assert ids.decode(text) == number


@given(st.integers(0, (1 << 80) - 1), st.integers(0, (1 << 80) - 1))
def test_identifiers_sort_as_their_numbers(one: int, other: int) -> None:
    assert (ids.encode(one, LENGTH) < ids.encode(other, LENGTH)) == (one < other)


@given(st.text(st.characters(codec=None, categories=None), max_size=20))
def test_any_text_is_an_identifier_or_a_value_error(text: str) -> None:
    try:
        at = ids.time_of(text)
    except ValueError:
        return
    assert ids.encode(ids.decode(text), LENGTH) == text
    assert at.tzinfo is UTC


@pytest.mark.parametrize("text", ["", "0" * 15, "0" * 17, "0" * 15 + "O", "0" * 15 + "i", "A" * 16, "0" * 15 + "٣"])
def test_what_is_no_identifier_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not an identifier") as raised:
        ids.time_of(text)
    assert repr(text) in str(raised.value)


@given(st.lists(st.integers(-5_000_000, 5_000_000), min_size=1, max_size=200), st.integers(0, MAX_WORKER))
def test_each_identifier_sorts_after_those_before_though_the_clock_leaps(leaps: list[int], worker: int) -> None:
    clock = HandClock()
    makes = source(clock, worker)
    made = []
    for leap in leaps:
        clock.at += timedelta(milliseconds=leap)
        made.append(makes.next())
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_an_identifier_tells_its_time_to_the_millisecond() -> None:
    clock = HandClock(NOW + timedelta(microseconds=123_999))
    assert ids.time_of(source(clock).next()) == NOW + timedelta(milliseconds=123)


def test_a_clock_that_stands_still_gives_distinct_identifiers_past_the_counter() -> None:
    makes = IdSource(HandClock(), 1, HighDice())
    made = [makes.next() for _ in range(3)]
    # 2^23 more would fill the millisecond; the next one is borrowed from the future
    makes._counter = (1 << 24) - 2
    made += [makes.next() for _ in range(3)]
    assert made == sorted(set(made))
    assert ids.time_of(made[3]) == NOW
    assert ids.time_of(made[4]) == NOW + timedelta(milliseconds=1)


def test_workers_never_make_the_same_identifier_though_dice_and_clock_agree() -> None:
    made = [one.next() for one in (source(worker=1), source(worker=2)) for _ in range(100)]
    assert len(set(made)) == 200


def test_a_worker_started_again_after_the_clock_stepped_back_makes_other_identifiers() -> None:
    assert not {one.next() for one in [source(seed=1)] * 100} & {one.next() for one in [source(seed=2)] * 100}


@pytest.mark.parametrize("year", [1970, 2019])
def test_before_its_epoch_a_clock_gives_other_identifiers_at_each_start(year: int) -> None:
    clock = HandClock(datetime(year, 1, 1, tzinfo=UTC))
    first, second = source(clock, seed=1), source(clock, seed=2)
    assert not {first.next() for _ in range(100)} & {second.next() for _ in range(100)}


@pytest.mark.parametrize("worker", [-1, MAX_WORKER + 1])
def test_a_worker_number_out_of_range_is_refused(worker: int) -> None:
    with pytest.raises(ValueError, match=f"worker number {worker} is not between"):
        source(worker=worker)


@given(st.integers(0, 80 * 365 * 86_400_000), st.integers(0, MAX_WORKER))
def test_the_bound_of_a_time_stands_before_its_identifiers_and_after_earlier_ones(age: int, worker: int) -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(milliseconds=age)
    bound = ids.first_at(at)
    assert bound <= source(HandClock(at), worker).next()
    if age:
        assert source(HandClock(at - timedelta(milliseconds=1)), worker).next() < bound


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_time_out_of_range_is_bounded_by_the_first_or_the_last(at: datetime) -> None:
    bound = ids.first_at(at)
    made = source().next()
    assert (bound < made) == (at < NOW)
