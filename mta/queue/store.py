"""The seam between the queue and its database: what the dispatcher and the acceptor need of a store.

Every method is one transaction. Due times and leases are set and compared by the store's own clock, so that nodes whose
clocks disagree do not steal from one another. Whatever is awaited here is on stable storage when it returns.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from mta.events import Event
from mta.mail.token import GroupPath
from mta.queue.lanes import NOTHING, Lane
from mta.queue.model import Claimed, Content, NewMessage, Pause, SiteRest, Stream
from mta.queue.returned import Complaint, Filed, Member, ReturnNote
from mta.queue.settle import Settled

SOON = timedelta(seconds=5)
"""What failed together is due again within the time in which it was written down, one after the other."""


class Accepted(Struct, frozen=True):
    """What became of a message handed to the store."""

    queue_id: str
    """What the client is told: the message's own, or the one under which its first duplicate was accepted."""
    leased: tuple[Claimed, ...]
    """Deliveries that were committed already leased to this worker; the rest is due in the store."""
    events: tuple[Event, ...] = ()
    """Those that were written: as they were handed in, but for what a part that was a duplicate takes from them."""
    duplicates: int = 0
    """Deliveries that were not written, because the same message was accepted for their recipients a while ago."""


class Late(Struct, frozen=True):
    """What a stretch of what waits has that is late."""

    found: tuple[Filed, ...]
    last: str
    """The delivery at its end; empty when there was none."""
    more: bool
    """Whether there may be more behind it."""


class Store(Protocol):
    """A durable queue. One instance serves one worker, whose number its leases carry."""

    @property
    def worker(self) -> int:
        """The number the store gave this worker; no other live worker has it."""
        ...

    @property
    def lease(self) -> timedelta:
        """How long a lease lasts from its taking or renewal."""
        ...

    async def accept(self, new: NewMessage, events: Sequence[Event], lease: int = 0) -> Accepted:
        """Write a message with all its deliveries and events. At most `lease` deliveries are leased at once.

        The message's terms are held against what all workers accepted before, in the same transaction. Recipients for
        whom it is a duplicate are left out first: they are neither written nor counted.

        Raises:
            OverRate: nothing was written: it has more recipients than the account's rate leaves.
            FirstTimeUsedUp: nothing was written: it has more new recipients than the account may have today.
            StoreUnavailable: nothing was written; the client must hear 4yz.
            StoreFull: the same, for lack of space.
        """
        ...

    async def claim(
        self, limit: int, passing: Collection[str] = (), in_hand: Mapping[Lane, int] = NOTHING, window: int = 0
    ) -> list[Claimed]:
        """Lease deliveries whose lease ran out, and those that are due, in turn by lanes; in a lane, oldest due first.

        Lanes that are paused are left out; sites that are paused are the caller's to pass over. The suppression list is
        looked at in the same transaction. It may lease fewer than are due when it has passed over very many: `next_due`
        is zero then.

        Args:
            limit: How many are wanted.
            passing: Domains that have no room.
            in_hand: How many of each lane the caller has already.
            window: How many the caller may have in hand in all, so that no lane fills it; 0: the limit alone counts.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        ...

    async def claim_old(self, before: Mapping[Stream, datetime], limit: int) -> list[Claimed]:
        """Lease waiting deliveries whose age counts from before a time, by stream, and those whose own time is over:
        also such as are not due, are passed over by claims, or are paused, and such as lost their worker.

        Each call looks at a bounded stretch of what waits, and the next one goes on there.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        ...

    async def claim_brothers(self, claimed: Claimed, limit: int) -> list[Claimed]:
        """Lease deliveries that share a return path with one of ours, and are due now or in a moment (`SOON`): they
        go in the same transaction, and take nobody's turn.

        Raises:
            StoreUnavailable: nothing was leased.
        """
        ...

    def waits(self, lane: Lane, domain: str) -> bool:
        """Return whether something that is due waits for its turn in a lane, or in the lane for a domain; then nothing
        newer should go before it. True for a lane that is paused, and before the first claim.

        From memory, as of the last claim and what this worker wrote since: what another worker left in the store after
        that is seen by the next claim.
        """
        ...

    async def content(self, queue_id: str) -> Content:
        """Return a message's octets, after comparing them with its checksum.

        Raises:
            Damaged: the octets are not those that were accepted, or are gone.
            StoreUnavailable: they cannot be read now.
        """
        ...

    async def settle(self, settled: Settled) -> Sequence[Event] | None:
        """Write what one attempt meant: state, events, DSN, suppression. None, and nothing written: the lease was lost.

        Returns the events that were written: that of a suppression is among them only if the address was not on the
        list yet.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...

    async def extend(self, delivery_ids: Collection[str]) -> frozenset[str]:
        """Renew leases; return the ids that are still ours. The others must be dropped before their final dot.

        Raises:
            StoreUnavailable: no lease was renewed.
        """
        ...

    async def release(self, delivery_ids: Collection[str]) -> None:
        """Give back leases of deliveries that were not attempted: they are due at once."""
        ...

    async def give_back_of(self, worker: int) -> int:
        """Give back all leases of a worker that is known to be dead; return how many there were.

        Raises:
            StoreUnavailable: not all were given back.
            ValueError: it is this worker.
        """
        ...

    async def next_due(self) -> timedelta | None:
        """Return how long until something in the store is due or a lease runs out; None when nothing waits.

        What the last claim saw and left, because its domain or lane has no room, is not counted, nor what is paused.
        """
        ...

    async def pauses(self) -> Sequence[Pause]:
        """Return what is not to be delivered for now.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...

    async def note_rest(self, site: str, rest: SiteRest | None) -> None:
        """Note that a site is left alone for a while, or, without a rest, that it is not any more: for operators and
        other workers to see.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...

    async def rests(self) -> Sequence[SiteRest]:
        """Return the sites that are left alone now, by whichever worker.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...

    async def file(self, delivery_id: str) -> Filed | None:
        """Return a delivery in whatever state it is; None when nothing is known of it (any more).

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...

    async def members(self, path: GroupPath, addresses: Collection[str]) -> Sequence[Member]:
        """Return the deliveries with a shared return path that are to one of some addresses, whatever the case of
        their ASCII letters.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...

    async def settle_late(self, settled: Settled) -> Sequence[Event] | None:
        """Move a delivery from `delivered` to `bounced` because of a report. None, and nothing written, when it is not
        `delivered`: told twice counts once.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...

    async def late(self, after: str, since: datetime) -> Late:
        """Look at a stretch of what waits, in the order of acceptance, behind a delivery, for what nobody was told of
        though its age counts from before a time. Nothing is leased.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        ...

    async def tell_late(self, settled: Settled) -> Sequence[Event] | None:
        """Write that a submitter was told of a delivery that waits, with the notification, and leave it as it is. None,
        and nothing written, when it does not wait any more, or he was told.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...

    async def complain(self, complaint: Complaint) -> Sequence[Event] | None:
        """Write a complaint and what follows from it. None, and nothing written, when the delivery has one already.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...

    async def note(self, note: ReturnNote) -> None:
        """Keep a note of a report, or a letter to postmaster.

        Raises:
            StoreUnavailable: nothing was written.
        """
        ...

    def now(self) -> datetime:
        """Return the store's clock as this process knows it: for ages and names of events."""
        ...
