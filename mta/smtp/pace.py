"""How fast a content must come, at least. Pure: the time is an argument.

A limit on each silence alone would let a client hold a connection, and the room of its message, with one octet every
few minutes.
"""


class Pace:
    """Watches one content: so many octets a second, on average over each window."""

    def __init__(self, rate: int | None, window: float, now: float) -> None:
        """`rate`: octets a second, None or 0: any; `window`, `now`: seconds."""
        self._wanted = (rate or 0) * window
        self._window = window
        self._octets = 0
        self._ends = now + window

    def came(self, octets: int, now: float) -> None:
        """So many octets came."""
        self._octets += octets
        # late ourselves: what the client sent meanwhile is only being read now
        if self._octets >= self._wanted or now > self._ends:
            self.begin(now)

    def begin(self, now: float) -> None:
        """Count from now on: what was before is forgiven, such as a pause that was ours."""
        self._octets = 0
        self._ends = now + self._window

    def left(self, now: float) -> float | None:
        """Return the seconds within which more must come; None: as long as it takes."""
        return max(0.0, self._ends - now) if self._wanted else None
