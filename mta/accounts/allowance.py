"""What an account may still do: so many deliveries in a span of time, so many first-time recipients in a day, and the
same message not twice.

Pure: values, and the arithmetic of a window that slides. Uses are added up over short stretches of time, so that what
is kept does not grow with the mail; a stretch counts until its last use is a whole span old, so that no span ever holds
more than is allowed, and a use comes free at most a stretch late. Keeping the uses, where all workers see them and no
restart forgets them, is left to the store.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

from msgspec import Struct

from mta.accounts.account import Rate
from mta.mail.address import ReversePath

DAY = timedelta(days=1)
"""The span in which first-time recipients are counted."""
STRETCHES = 60
"""Stretches that a span is cut into."""
SHORTEST = timedelta(milliseconds=50)
"""No stretch is shorter: a rate by the second is a twentieth late, and leaves no more than twenty rows a second."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DuplicateKey(Struct, frozen=True):
    """By what a message that is submitted again is recognised, and for how long. Its recipients are no part of it."""

    digest: bytes
    window: timedelta

    @classmethod
    def of(
        cls,
        account: str,
        reverse_path: ReversePath,
        message_id: str,
        octets: Iterable[bytes],
        window: timedelta,
    ) -> Self:
        """Return the key of a message, its octets as they came in whatever pieces.

        `message_id` must be the client's own: a message without one is never the same as another.
        """
        digest = hashlib.sha256()
        for part in (account, str(reverse_path), message_id):
            encoded = part.encode()
            # the length first: no two lists of parts are written alike
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        for piece in octets:
            digest.update(piece)
        return cls(digest.digest(), window)


class Terms(Struct, frozen=True):
    """What an acceptance is subject to. All of it is decided where the message is written, in the same transaction."""

    rate: Rate | None = None
    """How many deliveries the account may cause in a span."""
    first_time_per_day: int = 0
    """How many addresses it may write to for the first time in any 24 hours; 0: no limit."""
    duplicate: DuplicateKey | None = None

    @property
    def bind(self) -> bool:
        """Whether there is anything to be held against."""
        return self.rate is not None or self.first_time_per_day > 0 or self.duplicate is not None


class Use(Struct, frozen=True):
    """What was used of an allowance in one stretch."""

    last_at: datetime
    """When its last one was. May be to come: mail that waits for its release time is used then."""
    count: int


def stretch_of(per: timedelta) -> timedelta:
    """Return how long the stretches are that uses in a span are added up over."""
    return max(per / STRETCHES, SHORTEST)


def end_of_stretch(at: datetime, per: timedelta) -> datetime:
    """Return when the stretch ends that a time belongs to: always after that time."""
    stretch = stretch_of(per)
    return _EPOCH + ((at - _EPOCH) // stretch + 1) * stretch


def used(uses: Sequence[Use], per: timedelta, at: datetime) -> int:
    """Return the most that is used in any span that a time belongs to.

    Without uses to come, that is the span that ends then. With such, spans that end later hold both.
    """
    inside = sorted((use for use in uses if at - per < use.last_at < at + per), key=lambda use: use.last_at)
    past = sum(1 for use in inside if use.last_at <= at)
    total = most = sum(use.count for use in inside[:past])
    oldest = 0
    for use in inside[past:]:
        total += use.count
        while inside[oldest].last_at <= use.last_at - per:
            total -= inside[oldest].count
            oldest += 1
        most = max(most, total)
    return most


def room(uses: Sequence[Use], rate: Rate, at: datetime) -> int:
    """Return how many more may be used at a time; 0 also when there were too many."""
    return max(0, rate.count - used(uses, rate.per, at))


def room_again(uses: Sequence[Use], rate: Rate, at: datetime, wanted: int) -> datetime | None:
    """Return from when on, after a time, that many can be used, if nothing else is until then; None: never at once."""
    if wanted > rate.count:
        return None
    leaving = sorted({use.last_at + rate.per for use in uses if use.last_at + rate.per > at})
    return next((time for time in leaving if used(uses, rate.per, time) + wanted <= rate.count), None)
