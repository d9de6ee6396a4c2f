"""How much of a long change one transaction takes: as much as is done in a moment, on this disk, at this time.

While a transaction is open nothing is accepted and no result is written down. So a step ends when its time is over,
whatever is left of it, and the next one is as large as the last one allows.
"""

AT_FIRST = 25
"""Deliveries in the first step: what it touches may have to be read from a slow disk."""
LEAST, MOST = 10, 200
SLICE = 10
"""Deliveries that are changed between two looks at the time."""
QUICK = 0.006
"""Seconds in a transaction up to which the next one may be twice as large."""
LONG = 0.015
"""Seconds after which a transaction takes nothing more, and the next one is half as large. A commit comes on top, which
hardly depends on how many they are: together they stay well below the 0.1 s that nobody notices."""


def next_size(size: int, done: int, seconds: float) -> int:
    """Return how many deliveries the next step may take, after one that was to take `size` and did `done` of them."""
    if seconds > LONG:
        return max(LEAST, min(size, max(done, LEAST)) // 2)
    if seconds < QUICK and done >= size:
        return min(MOST, size * 2)
    return size
