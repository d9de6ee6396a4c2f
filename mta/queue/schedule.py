"""When a deferred delivery is tried again, and when it is given up (RFC 5321 §4.5.4.1)."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mta.queue.hints import Hint, with_hint
from mta.queue.model import Delivery, Message, Stream

JITTER = 0.10


@dataclass(frozen=True, slots=True)
class Schedule:
    """The retry intervals, the last of which repeats, and how old mail may get."""

    intervals: tuple[timedelta, ...]
    max_age: Mapping[Stream, timedelta]
    delay_notice_after: timedelta

    def __post_init__(self) -> None:
        if not self.intervals:
            raise ValueError("a schedule needs one interval at least")

    def next_attempt(
        self,
        message: Message,
        delivery: Delivery,
        now: datetime,
        dice: random.Random,
        hint: Hint | None = None,
    ) -> timedelta | None:
        """Return how long to wait after a failed attempt, or None when the delivery is to be given up.

        `delivery.attempts` counts the one that just failed. The last attempt is not lost to the schedule: a wait that
        would end past the expiry ends at it. `hint` is when the host wants to see it again, if it said so.
        """
        left = self.expires_at(message, delivery) - now
        if left <= timedelta(0):
            return None
        interval = self.intervals[min(max(delivery.attempts, 1), len(self.intervals)) - 1]
        wait = interval * (1 + JITTER * (2 * dice.random() - 1))
        return min(with_hint(wait, hint, delivery.attempts, dice), left)

    def expires_at(self, message: Message, delivery: Delivery) -> datetime:
        """Return when the delivery is given up. Time held, and time before a release, does not count as age."""
        start = message.release_at or message.accepted_at
        expiry = start + self.max_age[message.stream] + delivery.held_for
        return expiry if message.expires_at is None else min(expiry, message.expires_at)

    def is_late(self, message: Message, delivery: Delivery, now: datetime) -> bool:
        """Return whether the submitter should hear that the delivery is late."""
        start = message.release_at or message.accepted_at
        return now - start - delivery.held_for >= self.delay_notice_after
