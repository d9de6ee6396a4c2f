"""Turns among lanes."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.queue.lanes import BULK_WINDOW, Lane, Turns, is_paused, room_of, shares
from mta.queue.model import Pause, PauseScope, Stream


def quick(account: str = "a") -> Lane:
    return Lane(Stream.TRANSACTIONAL, account)


def bulk(account: str = "a") -> Lane:
    return Lane(Stream.BULK, account)


def in_turn(due: list[Lane], limit: int, times: int, weights: dict[str, int] | None = None) -> Counter[Lane]:
    """What lanes get that always have more, in so many claims."""
    turns, got = Turns(), Counter[Lane]()
    for _ in range(times):
        part = shares(due, limit, weights=weights or {}, turns=turns)
        turns = turns.after(part, due, weights or {})
        got.update(part)
    return got


@pytest.mark.parametrize(
    ("due", "limit", "expected"),
    [
        ([], 10, {}),
        ([quick()], 0, {}),
        ([quick()], 10, {quick(): 10}),
        ([bulk()], 10, {bulk(): 10}),
        ([quick(), bulk()], 10, {quick(): 9, bulk(): 1}),
        ([quick(), bulk()], 9, {quick(): 9}),
        ([quick("a"), quick("b"), bulk("c")], 20, {quick("a"): 9, quick("b"): 9, bulk("c"): 2}),
        ([quick("a"), quick("b"), quick("c")], 2, {quick("a"): 1, quick("b"): 1}),
    ],
)
def test_transactional_goes_before_bulk_and_accounts_share(
    due: list[Lane], limit: int, expected: dict[Lane, int]
) -> None:
    assert shares(due, limit) == expected


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 200])
def test_bulk_gets_a_tenth_of_the_claims_however_small_they_are(limit: int) -> None:
    got = in_turn([quick(), bulk()], limit, 1000)
    assert got.total() == limit * 1000
    assert got[bulk()] == pytest.approx(limit * 100, abs=1)


def test_what_bulk_missed_is_made_up_for_but_not_a_whole_night_of_it() -> None:
    turns = Turns()
    for _ in range(10_000):
        turns = turns.after({quick(): 10}, [quick(), bulk()])
    assert shares([quick(), bulk()], 1000, turns=turns)[bulk()] == 150


def test_bulk_is_owed_nothing_for_the_time_when_it_had_nothing() -> None:
    turns = Turns().after({quick(): 1000}, [quick()])
    assert shares([quick(), bulk()], 10, turns=turns) == {quick(): 9, bulk(): 1}


@pytest.mark.parametrize("limit", [1, 4, 10])
def test_accounts_take_turns_by_weight(limit: int) -> None:
    got = in_turn([bulk("a"), bulk("b"), bulk("c")], limit, 600, {"b": 2, "c": 3})
    each = limit * 100
    assert [got[bulk(name)] for name in "abc"] == [
        pytest.approx(each, abs=2),
        pytest.approx(each * 2, abs=2),
        pytest.approx(each * 3, abs=2),
    ]


def test_who_comes_anew_has_its_turn_soon_and_gets_nothing_for_the_time_before() -> None:
    turns = Turns()
    old = [bulk(f"a{number}") for number in range(50)]
    for _ in range(100):
        turns = turns.after(shares(old, 7, turns=turns), old)
    got = Counter[Lane]()
    for _ in range(52):
        part = shares([*old, bulk("new")], 1, turns=turns)
        turns = turns.after(part, [*old, bulk("new")])
        got.update(part)
    assert 1 <= got[bulk("new")] <= 2


@pytest.mark.parametrize(
    ("lanes", "stream", "each"),
    [
        (1, Stream.TRANSACTIONAL, 666),
        (2, Stream.TRANSACTIONAL, 400),
        (1, Stream.BULK, 500),
        (2, Stream.BULK, 300),
    ],
)
def test_lanes_that_hang_leave_some_of_the_window_free(lanes: int, stream: Stream, each: int) -> None:
    due = [Lane(stream, f"a{number}") for number in range(lanes)]
    hand, turns = Counter[Lane](), Turns()
    for _ in range(1000):
        part = shares(due, 10, hand, turns=turns, window=1000)
        turns = turns.after(part, due)
        hand.update(part)
    assert [hand[lane] for lane in due] == [pytest.approx(each, abs=12)] * lanes


def test_a_lane_with_nothing_in_hand_always_gets_one_while_any_place_is_free() -> None:
    hand = Counter({quick("hanging"): 999})
    assert shares([quick("hanging"), quick("new")], 10, hand, window=1000) == {quick("new"): 1}


lanes = st.builds(Lane, st.sampled_from(Stream), st.sampled_from("abcdef"))


@given(
    due=st.lists(lanes, unique=True),
    limit=st.integers(0, 300),
    in_hand=st.dictionaries(lanes, st.integers(0, 400)),
    weights=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9)),
    owed=st.floats(0, 50),
    window=st.integers(0, 2000),
)
def test_no_more_is_given_out_than_there_is_and_nothing_is_kept_back_without_a_reason(
    due: list[Lane], limit: int, in_hand: dict[Lane, int], weights: dict[str, int], owed: float, window: int
) -> None:
    part = shares(due, limit, in_hand, weights, Turns(owed), window)
    assert set(part) <= set(due)
    assert all(count > 0 for count in part.values())
    assert sum(part.values()) <= limit
    if not window:
        assert sum(part.values()) == (limit if due else 0)
        return
    held = sum(in_hand.values())
    assert sum(part.values()) <= max(0, window - held)
    bulk_given = sum(count for lane, count in part.items() if lane.stream is Stream.BULK)
    bulk_held = sum(count for lane, count in in_hand.items() if lane.stream is Stream.BULK)
    assert bulk_given <= max(0, window * BULK_WINDOW - bulk_held)
    fresh = [lane for lane in due if lane.stream is Stream.TRANSACTIONAL and not in_hand.get(lane)]
    if fresh and window > held and limit:
        assert sum(part.values()) > 0


@pytest.mark.parametrize(
    ("scope", "value", "expected"),
    [
        (PauseScope.ALL, "", True),
        (PauseScope.ACCOUNT, "a", True),
        (PauseScope.ACCOUNT, "b", False),
        (PauseScope.STREAM, "bulk", True),
        (PauseScope.STREAM, "transactional", False),
        (PauseScope.SITE, "a", False),
    ],
)
def test_a_pause_is_about_lanes_but_for_that_of_a_site(scope: PauseScope, value: str, expected: bool) -> None:
    pause = Pause("1", scope, value, "why", "root", datetime(2026, 1, 1, tzinfo=UTC))
    assert is_paused(bulk("a"), [pause]) is expected


@given(
    st.sampled_from([quick(), bulk()]),
    st.integers(0, 60),
    st.dictionaries(st.sampled_from([quick(), bulk(), quick("b"), bulk("b")]), st.integers(0, 300)),
    st.integers(1, 500),
)
def test_the_room_of_a_lane_alone_is_its_share_of_a_claim(
    lane: Lane, wanted: int, in_hand: dict[Lane, int], window: int
) -> None:
    assert room_of(lane, wanted, in_hand, window) == shares((lane,), wanted, in_hand, window=window).get(lane, 0)


def test_without_a_window_there_is_no_room() -> None:
    assert [room_of(quick(), 5, {}, window) for window in (0, -3)] == [0, 0]
