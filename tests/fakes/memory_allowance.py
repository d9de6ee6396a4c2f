"""What accounts have used of what they may do, in memory: every single use, where the store on disk adds them up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mta.accounts.account import Rate
from mta.accounts.allowance import DAY, Terms, Use, room, room_again
from mta.clock import Clock
from mta.errors import FirstTimeUsedUp, OverRate, UsedUp
from mta.events import Event
from mta.queue.duplicates import Remainder, without_duplicates
from mta.queue.model import NewMessage


@dataclass(slots=True)
class Uses:
    """What the workers of one memory share."""

    deliveries: dict[str, list[Use]] = field(default_factory=dict)
    first_times: dict[str, list[Use]] = field(default_factory=dict)
    acquaintances: set[tuple[str, str]] = field(default_factory=set)
    submissions: dict[tuple[bytes, str], tuple[str, datetime]] = field(default_factory=dict)
    """By digest and recipient: the queue id, and until when it is known."""


class MemoryAllowances:
    """The book of allowances of a memory, and what a message's terms mean there."""

    def __init__(self, uses: Uses, clock: Clock, fail: Callable[[], None]) -> None:
        self._uses = uses
        self._clock = clock
        self._fail = fail

    async def remaining(self, account: str, rate: Rate) -> int:
        """Return how many deliveries an account may still queue now."""
        self._fail()
        return room(self._uses.deliveries.get(account, []), rate, self._clock.now())

    def admit(
        self, new: NewMessage, terms: Terms, events: Sequence[Event], has_written: Callable[[str, str], bool]
    ) -> Remainder:
        """Return what is to be written, if the terms allow it."""
        left = Remainder(new, tuple(events), new.message.id)
        if terms.duplicate is not None:
            left = without_duplicates(new, events, self._before(terms.duplicate.digest))
        account, sent = new.message.account, _sent(left.new)
        if terms.rate is not None:
            self._require(self._uses.deliveries.get(account, []), terms.rate, new, len(sent), OverRate)
        strangers = self._strangers(account, sent, has_written)
        if terms.first_time_per_day:
            daily = Rate(terms.first_time_per_day, DAY)
            self._require(self._uses.first_times.get(account, []), daily, new, len(strangers), FirstTimeUsedUp)
            if strangers:
                self._uses.first_times.setdefault(account, []).append(Use(self._at(new), len(strangers)))
            self._uses.acquaintances |= {(account, stranger) for stranger in strangers}
        return left

    def note(self, new: NewMessage, terms: Terms) -> None:
        """Keep what was written as used."""
        sent = _sent(new)
        if terms.rate is not None and sent:
            self._uses.deliveries.setdefault(new.message.account, []).append(Use(self._at(new), len(sent)))
        if terms.duplicate is not None:
            until = self._clock.now() + terms.duplicate.window
            for delivery in new.deliveries:
                key = (terms.duplicate.digest, str(delivery.recipient.mailbox))
                self._uses.submissions[key] = (new.message.id, until)

    def _before(self, digest: bytes) -> dict[str, str]:
        return {
            recipient: queue_id
            for (key, recipient), (queue_id, until) in self._uses.submissions.items()
            if key == digest and until > self._clock.now()
        }

    def _strangers(self, account: str, sent: list[str], has_written: Callable[[str, str], bool]) -> set[str]:
        return {
            address.lower()
            for address in sent
            if (account, address.lower()) not in self._uses.acquaintances and not has_written(account, address)
        }

    def _require(self, uses: list[Use], rate: Rate, new: NewMessage, count: int, refusal: type[UsedUp]) -> None:
        at = self._at(new)
        if count > room(uses, rate, at):
            again = room_again(uses, rate, at, count)
            raise refusal(f"account {new.message.account}: {count} more are over {rate.count} in {rate.per}", again)

    def _at(self, new: NewMessage) -> datetime:
        now = self._clock.now()
        return max(now, new.message.release_at or now)


def _sent(new: NewMessage) -> list[str]:
    return [str(one.recipient.mailbox) for one in new.deliveries if not one.state.is_final]
