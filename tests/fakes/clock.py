"""A clock that is moved by hand."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class FakeClock:
    """Time stands still until `advance`."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """Return the wall clock's time."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        return self._monotonic

    def advance(self, span: timedelta | float) -> None:
        """Let time pass: a span, or seconds."""
        span = span if isinstance(span, timedelta) else timedelta(seconds=span)
        self._now += span
        self._monotonic += span.total_seconds()

    def step(self, span: timedelta) -> None:
        """Set the wall clock only, forwards or back, as an administrator or NTP would."""
        self._now += span
