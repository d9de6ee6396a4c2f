"""How large the steps of a long change are."""

from datetime import timedelta
from pathlib import Path

import pytest

from mta.storage.changes import Order, Verb
from mta.storage.steps import AT_FIRST, LEAST, LONG, MOST, SLICE, next_size
from mta.storage.views import Selector
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.fakes.world import Notes
from tests.storage.disk import open_store


@pytest.mark.parametrize(
    ("size", "done", "seconds", "expected"),
    [
        (25, 25, 0.001, 50),
        (50, 50, 0.005, 100),
        (150, 150, 0.001, MOST),
        (MOST, MOST, 0.001, MOST),
        # it is as long as it may be
        (100, 100, 0.010, 100),
        (100, 100, LONG, 100),
        # too long: half of it
        (100, 100, 0.016, 50),
        # it was given up half-way: half of what was done
        (200, 40, 0.030, 20),
        (15, 15, 0.5, LEAST),
        (LEAST, LEAST, 5.0, LEAST),
        # a small rest of a page says nothing of how long a whole step takes
        (100, 3, 0.0001, 100),
    ],
)
def test_a_step_is_as_large_as_the_last_one_allows(size: int, done: int, seconds: float, expected: int) -> None:
    assert next_size(size, done, seconds) == expected


class SlowClock(FakeClock):
    """Each look at the steady clock takes as long as one slice of a step does on a slow disk."""

    slow = 0.0

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        self.advance(self.slow)
        return super().monotonic()


@pytest.mark.parametrize(
    ("slice_takes", "expected"),
    [
        # nothing takes any time: twice as large each time, up to a page's end
        (timedelta(0), [AT_FIRST, 75, 175, 200, 400, 450]),
        # one slice is too long: what was begun with, and no more
        (timedelta(milliseconds=40), list(range(SLICE, 451, SLICE))),
    ],
)
async def test_a_transaction_ends_when_its_time_is_over(
    tmp_path: Path, slice_takes: timedelta, expected: list[int]
) -> None:
    clock, notes = SlowClock(), Notes()
    async with open_store(str(tmp_path / "queue.db"), clock) as store:
        await store.accept(Letters(clock).new([f"u{number}@example.net" for number in range(450)]), [])
        clock.slow = slice_takes.total_seconds()
        order = Order(Verb.HOLD, Selector(), "root", "odd")
        assert [change.changed async for change in store.desk(notes).changing(order)] == expected
    assert len(notes.events) == 450
