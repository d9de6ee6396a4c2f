"""Time as a seam: what the rest of the house may ask of a clock.

Rules and engines get a `Clock` by constructor, so that tests move time by hand. `SystemClock` is the one place in the
house that reads the machine's clocks.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The two times a mail server needs."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware, in UTC: for stored times and for people."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back: for measuring spans inside this process."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall clock's time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since some fixed instant; never steps back."""
        return time.monotonic()
