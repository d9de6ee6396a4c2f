"""Whose replies are counted on, for how long, and how many of them are remembered."""

from datetime import timedelta

import pytest

from mta.delivery.in_step import FOR, InStep
from mta.queue.seams import Host
from tests.fakes.clock import FakeClock

HOST = Host("mx1.example.net", 25)
THERE = "192.0.2.1"
MOMENT = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("story", "holds"),
    [
        ([], False),
        (["proven"], True),
        (["proven", FOR - MOMENT], True),
        (["proven", FOR], False),
        (["proven", FOR - MOMENT, "proven", FOR - MOMENT], True),
        (["forgotten"], False),
        (["proven", "forgotten"], False),
        # who was out of step is not believed again at once
        (["forgotten", "proven"], False),
        (["proven", "forgotten", FOR - MOMENT, "proven"], False),
        (["proven", "forgotten", FOR, "proven"], True),
        (["forgotten", FOR - MOMENT, "forgotten", MOMENT, "proven"], False),
    ],
)
def test_a_host_is_counted_on_for_as_long_as_it_was_in_step(story: list[str | timedelta], holds: bool) -> None:
    clock = FakeClock()
    memory = InStep(clock)
    for event in story:
        if isinstance(event, timedelta):
            clock.advance(event)
        elif event == "proven":
            memory.prove(HOST, THERE)
        else:
            memory.forget(HOST, THERE)
    assert memory.holds(HOST, THERE) is holds


@pytest.mark.parametrize(
    ("host", "address"), [(HOST, "192.0.2.2"), (Host("mx1.example.net", 2525), THERE), (Host("mx2.test", 25), THERE)]
)
def test_one_host_at_one_address_says_nothing_of_another(host: Host, address: str) -> None:
    memory = InStep(FakeClock())
    memory.prove(HOST, THERE)
    memory.forget(host, address)
    assert memory.holds(HOST, THERE)
    assert not memory.holds(host, address)


def test_what_was_learnt_longest_ago_makes_room() -> None:
    memory = InStep(FakeClock())
    for number in range(10_000):
        memory.prove(HOST, str(number))
    memory.prove(HOST, "0")
    memory.prove(HOST, "one more")
    assert [memory.holds(HOST, each) for each in ("0", "1", "2", "one more")] == [True, False, True, True]
