"""Identifiers of messages, deliveries and events: opaque, unique across workers and nodes, sorting by time.

80 bits in 16 lower-case letters of Crockford's base 32, whose order is the order of the numbers and which has no
look-alike letters: 42 bits of milliseconds since 2020, 14 bits of the worker's number (which the store hands out, no
two live workers having the same), 24 bits of counter. Short enough for a return path that stays under 40 octets.
"""

import random
from datetime import UTC, datetime, timedelta

from mta.clock import Clock

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 16
MAX_WORKER = (1 << 14) - 1

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_MILLISECOND = timedelta(milliseconds=1)
_MAX_MILLISECONDS = (1 << 42) - 1


def encode(number: int, length: int) -> str:
    """Write a number in `length` letters, most significant first."""
    pairs = [_PAIRS[number >> shift & 1023] for shift in range((length - 1) // 2 * 10, -1, -10)]
    return "".join(pairs)[-length:]


def decode(text: str) -> int:
    """Read what `encode` wrote.

    Raises:
        ValueError: a letter is not in the alphabet.
    """
    number = 0
    for letter in text:
        if letter not in _VALUES:
            raise ValueError(f"{text!r} is not an identifier")
        number = number << 5 | _VALUES[letter]
    return number


def time_of(identifier: str) -> datetime:
    """Return when an identifier was made, to the millisecond.

    Raises:
        ValueError: the text is no identifier.
    """
    if len(identifier) != LENGTH:
        raise ValueError(f"{identifier!r} is not an identifier")
    return _EPOCH + (decode(identifier) >> 38) * _MILLISECOND


def first_at(at: datetime) -> str:
    """Return the least identifier that can be made at a time: a bound for searches by time."""
    return encode(min(max(0, (at - _EPOCH) // _MILLISECOND), _MAX_MILLISECONDS) << 38, LENGTH)


class IdSource:
    """Makes identifiers for one worker. Never goes back, whatever the clock does."""

    def __init__(self, clock: Clock, worker: int, dice: random.Random) -> None:
        if not 0 <= worker <= MAX_WORKER:
            raise ValueError(f"worker number {worker} is not between 0 and {MAX_WORKER}")
        self._clock = clock
        self._worker = worker
        self._dice = dice
        # at random here too: a machine without a clock of its own starts before the epoch, time and again
        self._begin(0, dice.getrandbits(23))

    def next(self) -> str:
        """Return an identifier that sorts after every one made here before."""
        now = (self._clock.now() - _EPOCH) // _MILLISECOND
        if now > self._last:
            # a random start in the lower half: a worker's number that is used again after a step of the clock does not
            # repeat identifiers, and what one millisecond needs still fits
            self._begin(now, self._dice.getrandbits(23))
        else:
            self._counter += 1
            if self._counter >> 24:
                self._begin(self._last + 1, 0)
        low = self._worker << 24 | self._counter
        return f"{self._prefix}{_PAIRS[low >> 20 & 1023]}{_PAIRS[low >> 10 & 1023]}{_PAIRS[low & 1023]}"

    def _begin(self, millisecond: int, counter: int) -> None:
        self._last, self._counter = millisecond, counter
        # all letters but those of the counter, which have some of the worker's number in them
        self._prefix = encode((millisecond << 38 | self._worker << 24) >> 30, LENGTH - 6)
