"""The wall clock is set by an hour, forwards and back, under a whole server: nothing is lost, nothing flooded."""

import time
from pathlib import Path

import pytest

from tests.scenarios.house import PATIENCE, House, open_house

HOUR = 3600
RETRY = 1.0
"""Seconds between attempts, a tenth more or less."""


class SetClock:
    """A wall clock for the server alone; monotonic time stays real."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs the server with it."""
        settings = {
            "LD_PRELOAD": next(str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return ("env", *(f"{name}={value}" for name, value in settings.items()))

    def set(self, seconds: int) -> None:
        """Let it be ahead of the real one by so much."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self._file)


@pytest.mark.slow
@pytest.mark.peer("faketime")
async def test_a_clock_that_is_set_loses_and_floods_nothing(tmp_path: Path) -> None:
    clock = SetClock(tmp_path)
    async with open_house(tmp_path / "house", prefix=clock.prefix, retry='["1s"]') as house:
        began = time.monotonic()
        house.sink.answer("RCPT", "late@example.net", "450 4.2.0 later")
        late = await house.submit("late@example.net")
        arrived = 0
        for ahead in (0, HOUR, 0, -HOUR, HOUR):
            clock.set(ahead)
            # what is new is delivered at once, whatever the time is
            await house.submit("new@example.net")
            arrived += 1
            await house.sink.wait_for(arrived, PATIENCE)
            if ahead == HOUR:
                # what waits for a time is attempted then, and not before
                seen = _attempts(house)
                await house.see("it is due", lambda seen=seen: _attempts(house) > seen + 1)  # type: ignore[misc]  # of mypy's own
        assert house.logged("the clock has leapt ahead") > 0
        seconds = time.monotonic() - began
        assert _attempts(house) <= seconds / (0.9 * RETRY) + 5, "more often than the schedule says"
        house.sink.answer("RCPT", "late@example.net", "250 2.1.5 Ok")
        await house.see("the queue is empty", lambda: not house.open_deliveries())
        assert len(house.sink.messages) == arrived + 1
        assert house.rows("SELECT state FROM deliveries WHERE queue_id = ?", late) == [("delivered",)]


def _attempts(house: House) -> int:
    return sum("late@example.net" in command for command in house.sink.commands)
