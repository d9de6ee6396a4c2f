"""The order of a waiting line: what hurries first, nobody forgotten, lanes in turn."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mta.queue.lanes import Lane
from mta.queue.line import BULK_TURN, Line
from mta.queue.model import Stream

T, B = Stream.TRANSACTIONAL, Stream.BULK


def served(line: Line[str], *, bulk: bool = True) -> list[str]:
    order = []
    while (found := line.next(bulk=bulk)) is not None:
        order.append(found[1])
    return order


def test_accounts_take_turns_whoever_came_first() -> None:
    line: Line[str] = Line()
    for item in ("a1", "a2", "a3", "b1", "b2", "c1"):
        line.join(Lane(B, item[0]), item)
    assert served(line) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_transactional_mail_goes_first_and_bulk_has_every_tenth_turn() -> None:
    line: Line[str] = Line()
    for number in range(20):
        line.join(Lane(B, "a"), f"b{number}")
        line.join(Lane(T, "a"), f"t{number}")
    order = served(line)
    assert order[:10] == [f"t{number}" for number in range(9)] + ["b0"]
    assert sum(item.startswith("b") for item in order[:20]) == 20 // BULK_TURN


def test_what_may_not_go_keeps_its_place_and_stops_nobody() -> None:
    line: Line[str] = Line()
    line.join(Lane(B, "a"), "bulk")
    line.join(Lane(T, "a"), "reset")
    assert served(line, bulk=False) == ["reset"]
    assert (len(line), line.waiting(B), line.waiting(T)) == (1, 1, 0)
    assert served(line) == ["bulk"]


def test_who_leaves_is_not_called() -> None:
    line: Line[str] = Line()
    for item in ("a1", "a2"):
        line.join(Lane(T, "a"), item)
    line.leave(Lane(T, "a"), "a1")
    line.leave(Lane(T, "a"), "a1")
    line.leave(Lane(B, "nobody"), "x")
    assert served(line) == ["a2"]


@given(st.lists(st.tuples(st.sampled_from([T, B]), st.sampled_from("abc")), max_size=60))
def test_everybody_is_called_once_each_lane_in_its_own_order(joined: list[tuple[Stream, str]]) -> None:
    line: Line[int] = Line()
    for number, (stream, account) in enumerate(joined):
        line.join(Lane(stream, account), number)
    order = []
    while (found := line.next()) is not None:
        order.append(found)
    assert Counter(number for _, number in order) == Counter(range(len(joined)))
    for lane in {lane for lane, _ in order}:
        mine = [number for each, number in order if each == lane]
        assert mine == sorted(mine)
    assert len(line) == 0
