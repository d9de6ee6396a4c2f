"""By what time mail is judged to be too old, when the wall clock is set while we run.

A clock that jumps a day ahead, by a mistake or a bad time server, must not expire all mail that waits: a step forwards
is believed when it has stood for an hour of the monotonic clock. A step back makes mail younger, which harms nobody.
When a delivery is due is left to the store.
"""

from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=5)
"""Corrections that are no step."""
BELIEVED_AFTER = 3600.0
"""Seconds."""


class Ages:
    """Follows the wall clock, but not into the future at once."""

    def __init__(self, now: datetime, monotonic: float) -> None:
        self._wall, self._monotonic = now, monotonic
        self._ahead_since: float | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the wall clock has stepped forwards and is not believed yet."""
        return self._ahead_since is not None

    def at(self, now: datetime, monotonic: float) -> datetime:
        """Return the time by which ages are judged, given what both clocks say."""
        steady = self._wall + timedelta(seconds=monotonic - self._monotonic)
        if now - steady <= TOLERANCE:
            self._ahead_since = None
        elif self._ahead_since is None:
            self._ahead_since = monotonic
            return steady
        elif monotonic - self._ahead_since < BELIEVED_AFTER:
            return steady
        self._ahead_since = None
        self._wall, self._monotonic = now, monotonic
        return now
