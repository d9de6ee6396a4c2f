"""What the contract tests of stores share: a store, a second worker beside it, letters, and settlements."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec.structs import replace

from mta.accounts.account import Rate
from mta.accounts.standing import Book
from mta.events import Event, EventType
from mta.mail.address import Mailbox
from mta.mail.reply import Reply
from mta.queue.model import Claimed, NewMessage, State
from mta.queue.returned import Complaint, ReturnNote
from mta.queue.settle import Settled, Settlement
from mta.queue.store import Store
from mta.reputation.suppression import Cause, List, Origin, Suppression
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters

OK = Reply.of(250, "2.0.0", "Ok")
LATER = Reply.of(450, "4.7.1", "come back later")
NOBODY = Reply.of(550, "5.1.1", "no such user")
EVENT_OF = {
    State.QUEUED: EventType.DEFERRED,
    State.HELD: EventType.HELD,
    State.DELIVERED: EventType.DELIVERED,
    State.BOUNCED: EventType.BOUNCED,
    State.EXPIRED: EventType.EXPIRED,
    State.CANCELLED: EventType.CANCELLED,
    State.SUPPRESSED: EventType.SUPPRESSED,
}


class Allowances(Protocol):
    """How much of what an account may do is left."""

    async def remaining(self, account: str, rate: Rate) -> int:
        """Return how many deliveries it may still queue."""
        ...


class WholeStore(Store, Protocol):
    """A store with what is kept beside the queue."""

    @property
    def suppression_list(self) -> List:
        """Who is not written to."""
        ...

    @property
    def book(self) -> Book:
        """How accounts stand."""
        ...

    @property
    def allowances(self) -> Allowances:
        """What is left to them."""
        ...


@dataclass
class Rig:
    """A store, a second worker beside it, and what writes letters."""

    clock: FakeClock
    letters: Letters
    open: Callable[[], Awaitable[WholeStore]]
    store: WholeStore
    notes: Callable[[], Awaitable[list[ReturnNote]]]
    """What was noted of reports, newest first; of letters without their octets."""

    async def accept(self, *recipients: str, lease: int = 0) -> NewMessage:
        new = self.letters.new(recipients or ("a@example.net",))
        await self.store.accept(new, [self.event(new)], lease)
        return new

    def event(self, new: NewMessage, type: EventType = EventType.ACCEPTED) -> Event:
        return Event(self.letters.ids.next(), self.clock.now(), type, account="app", queue_id=new.message.id)

    async def claimed(self, *recipients: str) -> Claimed:
        """Accept a message and claim its first delivery."""
        await self.accept(*recipients)
        return (await self.store.claim(1))[0]

    async def delivered(self, recipient: str = "a@example.net") -> Claimed:
        """Accept a message and have it delivered; return what was claimed for it."""
        claimed = await self.claimed(recipient)
        assert await self.store.settle(self.told(claimed, State.DELIVERED)) is not None
        return claimed

    async def bounced(self, recipient: str = "a@example.net", **changes: Any) -> list[EventType] | None:
        """Accept a message and have it bounce, with a suppression; return the types of the events written."""
        claimed = await self.claimed(recipient)
        entry = self.entry(recipient, delivery_id=claimed.delivery.id)
        settled = self.told(claimed, State.BOUNCED, **({"suppression": entry} | changes))
        return types(await self.store.settle(settled))

    def told(self, claimed: Claimed, state: State, hardness: str | None = None, **changes: Any) -> Settled:
        """A settlement with its event, and the event of a suppression that may come of it."""
        bare = settled(claimed, state, **changes)
        if hardness is None:
            hardness = "hard" if state is State.BOUNCED else None
        event = Event(
            self.letters.ids.next(),
            self.clock.now(),
            bare.settlement.event,
            account=claimed.message.account,
            stream=claimed.message.stream.value,
            queue_id=claimed.message.id,
            delivery_id=claimed.delivery.id,
            recipient=str(claimed.delivery.recipient.mailbox),
            hardness=hardness,
            detail={"late": "report"} if bare.settlement.late else {},
        )
        on_list = replace(event, id=self.letters.ids.next(), type=EventType.SUPPRESSION_ADDED, detail={})
        return replace(bare, events=(event,), on_suppressing=on_list)

    def late(self, claimed: Claimed, **changes: Any) -> Settled:
        """A settlement that a report causes."""
        return self.told(claimed, State.BOUNCED, reply=NOBODY, attempted=False, late="report", **changes)

    def entry(self, address: str = "a@example.net", **changes: Any) -> Suppression:
        """An entry of the list that does not end."""
        mailbox = Mailbox.parse(address)
        entry = Suppression("app", mailbox, Cause.HARD_BOUNCE, Origin.DELIVERY, self.clock.now(), detail="550 no")
        return replace(entry, **changes)

    def complaint(self, delivery_id: str, address: str = "a@example.net") -> Complaint:
        """A complaint with what follows from it."""
        event = Event(
            self.letters.ids.next(),
            self.clock.now(),
            EventType.COMPLAINED,
            account="app",
            stream="transactional",
            delivery_id=delivery_id,
            recipient=address,
        )
        on_list = replace(event, id=self.letters.ids.next(), type=EventType.SUPPRESSION_ADDED)
        entry = self.entry(address, cause=Cause.COMPLAINT, origin=Origin.FEEDBACK, delivery_id=delivery_id)
        return Complaint(delivery_id, event, entry, on_list)

    async def found(self, address: str = "a@example.net") -> Suppression | None:
        """What the list says of an address now."""
        return await self.store.suppression_list.find("app", Mailbox.parse(address))


def types(events: Sequence[Event] | None) -> list[EventType] | None:
    """The types of what was written; None when nothing was."""
    return None if events is None else [event.type for event in events]


def settled(claimed: Claimed, state: State, **changes: Any) -> Settled:
    """A settlement as an attempt would give it."""
    settlement = Settlement(claimed, state, OK, EVENT_OF[state])
    return Settled(replace(settlement, **changes), ())
