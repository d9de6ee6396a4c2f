"""A window that slides, and by what a duplicate is known."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mta.accounts.account import Rate
from mta.accounts.allowance import DuplicateKey, Use, end_of_stretch, room, room_again, stretch_of, used
from mta.mail.address import ReversePath

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def minutes(*pairs: tuple[int, int]) -> list[Use]:
    """Uses by minutes from noon and their number."""
    return [Use(NOON + timedelta(minutes=minute), count) for minute, count in pairs]


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ([], 0),
        ([(0, 3)], 3),
        ([(-59, 3), (-1, 4)], 7),
        # a use is over when it is as old as the span
        ([(-60, 3), (-1, 4)], 4),
        # to come: spans that end later hold now and then
        ([(30, 5)], 5),
        ([(60, 5)], 0),
        ([(-50, 3), (30, 5)], 5),
        ([(-20, 3), (30, 5)], 8),
        ([(-20, 3), (30, 5), (50, 1)], 8),
        ([(-50, 9), (30, 5), (50, 1)], 9),
        # the order in which they are told does not matter
        ([(50, 1), (30, 5), (-20, 3)], 8),
    ],
)
def test_how_much_is_used_in_the_fullest_hour_around_noon(uses: list[tuple[int, int]], expected: int) -> None:
    assert used(minutes(*uses), HOUR, NOON) == expected


@pytest.mark.parametrize(
    ("uses", "wanted", "expected"),
    [
        ([(0, 10)], 1, 60),
        ([(-50, 4), (-20, 6)], 4, 10),
        ([(-50, 4), (-20, 6)], 5, 40),
        ([(-50, 4), (-20, 6)], 10, 40),
        # more than is ever allowed at once
        ([], 11, None),
        # room at ten past would be too much for an hour that ends at a quarter past
        ([(-50, 5), (15, 5)], 6, 75),
    ],
)
def test_when_there_is_room_again(uses: list[tuple[int, int]], wanted: int, expected: int | None) -> None:
    again = room_again(minutes(*uses), Rate(10, HOUR), NOON, wanted)
    assert again == (None if expected is None else NOON + timedelta(minutes=expected))


def test_there_is_never_less_than_no_room() -> None:
    assert room(minutes((0, 20)), Rate(10, HOUR), NOON) == 0


@given(
    st.lists(st.tuples(st.integers(-120, 120), st.integers(1, 5)), max_size=12),
    st.integers(1, 60),
)
def test_used_is_what_a_look_at_every_span_finds(pairs: list[tuple[int, int]], per: int) -> None:
    spans = (
        sum(count for minute, count in pairs if end - per < minute <= end)
        for end in range(per)  # every span of whole minutes that noon belongs to
    )
    assert used(minutes(*pairs), timedelta(minutes=per), NOON) == max(spans)


@given(
    st.lists(st.integers(0, 300_000), min_size=1, max_size=80),
    st.integers(1, 8),
    st.sampled_from([timedelta(seconds=1), timedelta(minutes=1)]),
)
def test_no_span_holds_more_than_the_rate_though_uses_are_added_up(
    times: list[int], count: int, per: timedelta
) -> None:
    rate, kept, taken = Rate(count, per), dict[datetime, Use](), list[datetime]()
    for at in (NOON + timedelta(milliseconds=time) for time in sorted(times)):
        if room(list(kept.values()), rate, at):
            end = end_of_stretch(at, per)
            kept[end] = Use(at, kept[end].count + 1 if end in kept else 1)
            taken.append(at)
    assert all(later - earlier >= per for earlier, later in zip(taken, taken[count:], strict=False))
    # and a use comes free no later than a stretch after that
    refused = [NOON + timedelta(milliseconds=time) for time in times]
    late = per + stretch_of(per)
    assert all(at in taken or sum(at - late < one <= at for one in taken) >= count for at in refused)


@pytest.mark.parametrize(
    ("per", "stretch"),
    [
        (timedelta(seconds=1), timedelta(milliseconds=50)),
        (timedelta(minutes=1), timedelta(seconds=1)),
        (HOUR, timedelta(minutes=1)),
        (timedelta(days=1), timedelta(minutes=24)),
    ],
)
def test_stretches_follow_one_another(per: timedelta, stretch: timedelta) -> None:
    ends = [end_of_stretch(NOON, per)]
    for _ in range(3):
        ends.append(end_of_stretch(ends[-1], per))
    assert {later - earlier for earlier, later in pairwise(ends)} == {stretch_of(per)} == {stretch}
    assert end_of_stretch(ends[0] - timedelta(microseconds=1), per) == ends[0]


KEY = {
    "account": "app",
    "reverse_path": ReversePath.parse("<app@example.com>"),
    "message_id": "<1@example.com>",
    "octets": (b"Subject: Hello\r\n", b"\r\nGood morning.\r\n"),
    "window": HOUR,
}


@pytest.mark.parametrize(
    "change",
    [
        {"account": "shop"},
        {"reverse_path": ReversePath(None)},
        {"message_id": "<2@example.com>"},
        {"octets": (b"Subject: Hello\r\n\r\nGood evening.\r\n",)},
        # the same text, cut elsewhere
        {"account": "appapp", "reverse_path": ReversePath.parse("<p@example.com>")},
        {"message_id": "<1@example.com>Subject:", "octets": (b" Hello\r\n", b"\r\nGood morning.\r\n")},
    ],
)
def test_a_message_that_differs_in_anything_is_another(change: dict[str, object]) -> None:
    same, other = DuplicateKey.of(**KEY), DuplicateKey.of(**KEY | change)  # type: ignore[arg-type] # a table of changes
    assert same.digest != other.digest


def test_a_message_is_the_same_in_whatever_pieces_it_came() -> None:
    whole = DuplicateKey.of(**KEY | {"octets": (b"".join(KEY["octets"]),)})  # type: ignore[arg-type] # as above
    assert whole == replace(DuplicateKey.of(**KEY))  # type: ignore[arg-type] # as above
