"""The queue in memory: what `SqliteStore` does, without a disk. Both pass the same contract tests."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from mta.accounts.standing import Standing
from mta.accounts.standing import State as StandingState
from mta.clock import Clock
from mta.errors import Damaged, StoreUnavailable
from mta.events import Event
from mta.mail.address import Mailbox
from mta.mail.envelope import Notify
from mta.mail.token import GroupPath
from mta.queue.duplicates import Remainder
from mta.queue.lanes import NOTHING, Lane, Turns, is_paused, shares
from mta.queue.model import (
    MOVES,
    Claimed,
    Content,
    Delivery,
    Message,
    NewMessage,
    Pause,
    SiteRest,
    State,
    Stream,
)
from mta.queue.returned import Complaint, Filed, Member, ReturnNote
from mta.queue.settle import Settled, Settlement
from mta.queue.store import SOON, Accepted, Late
from mta.queue.verdict import SEEN_AGAIN_AFTER
from mta.reputation.rates import Tally, slot_of, tally_of
from mta.reputation.suppression import Suppression
from tests.fakes.memory_allowance import MemoryAllowances, Uses

LEASE = timedelta(seconds=60)
_BEGINNINGS = (State.QUEUED, State.HELD, State.SUPPRESSED)


@dataclass(slots=True)
class _Row:
    delivery: Delivery
    owner: int | None = None
    lease_until: datetime | None = None
    late: bool = False


Address = tuple[str, str]
"""An account, and a mailbox as it is printed."""


@dataclass(slots=True)
class Memory:
    """What the workers of one memory share, open to tests."""

    messages: dict[str, Message] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    rows: dict[str, _Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    suppressions: dict[Address, Suppression] = field(default_factory=dict)
    suspects: dict[Address, datetime] = field(default_factory=dict)
    withheld: list[Settlement] = field(default_factory=list)
    """Bounces that are not believed yet."""
    complaints: set[str] = field(default_factory=set)
    notes: list[ReturnNote] = field(default_factory=list)
    tallies: dict[tuple[str, str, int, int], Tally] = field(default_factory=dict)
    standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    uses: Uses = field(default_factory=Uses)
    pauses: list[Pause] = field(default_factory=list)
    rests: dict[str, SiteRest] = field(default_factory=dict)
    workers: int = 0


class MemoryList:
    """The suppression list of a memory."""

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store

    async def find(self, account: str, address: Mailbox) -> Suppression | None:
        """Return the entry that holds now."""
        self._store.fail()
        return self._store.holding(account, address)


class MemoryBook:
    """The book of standings of a memory."""

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self._memory = store.memory

    async def standings(self) -> Sequence[Standing]:
        """Return every standing."""
        self._store.fail()
        return [standing for _, standing in sorted(self._memory.standings.items())]

    async def slots(self, standing: Standing, since: int) -> Sequence[tuple[int, Tally]]:
        """Return the counts of an epoch by slot; of the account as a whole, those of its streams together."""
        self._store.fail()
        epochs = {stream.value: self._memory_epoch(standing.account, stream.value) for stream in Stream}
        if standing.stream:
            epochs = {standing.stream: standing.epoch}
        sums: dict[int, Tally] = {}
        for (account, stream, epoch, slot), tally in self._memory.tallies.items():
            if account == standing.account and epochs.get(stream) == epoch and slot >= since:
                sums[slot] = sums.get(slot, Tally()) + tally
        return sorted(sums.items(), key=lambda item: item[0])

    async def write(self, standing: Standing, event: Event | None) -> None:
        """Replace a standing; refuse one that the ratios moved when somebody else moved it meanwhile."""
        self._store.fail()
        key = (standing.account, standing.stream)
        there = self._memory.standings.get(key)
        epoch = self._memory_epoch(*key)
        same = (
            there is not None
            and there.state in (standing.state, StandingState.SUSPENDED)
            and epoch == standing.epoch
            and not standing.by
        )
        if standing.epoch < epoch or same:
            raise StoreUnavailable(f"the standing of {key} was moved by somebody else meanwhile")
        self._memory.standings[key] = standing
        if not standing.stream and standing.epoch > epoch:
            for stream in Stream:
                old = self._memory.standings.get((standing.account, stream.value))
                old = old or Standing(standing.account, stream.value)
                self._memory.standings[standing.account, stream.value] = replace(old, epoch=old.epoch + 1)
        self._store.write_events([] if event is None else [event])

    def _memory_epoch(self, account: str, stream: str) -> int:
        standing = self._memory.standings.get((account, stream))
        return 0 if standing is None else standing.epoch


class MemoryStore:
    """A queue that forgets. Set `failure` and every call raises it."""

    def __init__(self, clock: Clock, lease: timedelta = LEASE, memory: Memory | None = None) -> None:
        """Give two stores one `memory` and they are two workers."""
        self.memory = memory or Memory()
        self.memory.workers += 1
        self.failure: StoreUnavailable | None = None
        self._worker = self.memory.workers
        self._clock = clock
        self._lease = lease
        self.suppression_list = MemoryList(self)
        self.book = MemoryBook(self)
        self.allowances = MemoryAllowances(self.memory.uses, clock, self.fail)
        self.weights: Mapping[str, int] = {}
        self._turns = Turns()
        self._left: frozenset[str] = frozenset()
        self._looked_at: datetime | None = None

    @property
    def worker(self) -> int:
        """The number of this worker."""
        return self._worker

    @property
    def lease(self) -> timedelta:
        """How long a lease lasts from its taking or renewal."""
        return self._lease

    @property
    def events(self) -> list[Event]:
        """Every event written, in order."""
        return self.memory.events

    @property
    def notes(self) -> list[ReturnNote]:
        """Every note of what came back, in order."""
        return self.memory.notes

    def now(self) -> datetime:
        """Return the clock's time."""
        return self._clock.now()

    def state_of(self, delivery_id: str) -> State:
        """Return where a delivery stands."""
        return self.memory.rows[delivery_id].delivery.state

    async def accept(self, new: NewMessage, events: Sequence[Event], lease: int = 0) -> Accepted:
        """Keep a message; lease the first deliveries that are due."""
        self.fail()
        left = Remainder(new, tuple(events), new.message.id)
        if new.terms is not None:
            left = self.allowances.admit(new, new.terms, events, self._has_written)
            if left.duplicates and not left.new.deliveries:
                return Accepted(left.queue_id, (), (), left.duplicates)
        leased = self._write(left.new, left.events, lease)
        if new.terms is not None:
            self.allowances.note(left.new, new.terms)
        return Accepted(left.queue_id, leased, left.events, left.duplicates)

    async def claim(
        self, limit: int, passing: Collection[str] = (), in_hand: Mapping[Lane, int] = NOTHING, window: int = 0
    ) -> list[Claimed]:
        """Lease what lost its worker, then what is due, by lanes."""
        self.fail()
        self._left = frozenset()
        self._looked_at = self.now()
        rows = [row for row in self._open_to_claims() if row.delivery.domain not in passing]
        rows.sort(key=lambda row: (row.lease_until or row.delivery.due_at, row.delivery.id))
        taken = [row for row in rows if row.lease_until is not None and row.lease_until <= self.now()][: max(0, limit)]
        lines = {lane: list(group) for lane, group in _by_lane(self, rows)}
        left, hand = limit - len(taken), Counter(in_hand)
        while left > 0 and (due := [lane for lane, line in lines.items() if line]):
            part = shares(due, left, hand, self.weights, self._turns, window)
            got = {lane: min(len(lines[lane]), share) for lane, share in part.items()}
            if not part:
                break
            for lane, count in got.items():
                taken += lines[lane][:count]
                del lines[lane][:count]
            hand.update(got)
            left -= sum(got.values())
            self._turns = self._turns.after(got, due, self.weights)
        claimed = self._take(row.delivery.id for row in taken)
        if left > 0:
            self._left = frozenset(row.delivery.id for row in self._open_to_claims())
        return claimed

    async def claim_old(self, before: Mapping[Stream, datetime], limit: int) -> list[Claimed]:
        """Lease what is too old, whether it is due or not."""
        self.fail()
        old = []
        for row in self.memory.rows.values():
            message = self.memory.messages[row.delivery.message_id]
            counts_from = (message.release_at or message.accepted_at) + row.delivery.held_for
            since = before.get(message.stream)
            has_lapsed = row.lease_until is not None and row.lease_until <= self.now()
            if row.delivery.state is not State.QUEUED and not has_lapsed:
                continue
            if (since is not None and counts_from < since) or (message.expires_at and message.expires_at <= self.now()):
                old.append(row.delivery.id)
        return self._take(sorted(old)[:limit])

    async def claim_brothers(self, claimed: Claimed, limit: int) -> list[Claimed]:
        """Lease what shares a return path and is due in a moment."""
        self.fail()
        until = self.now() + SOON
        return self._take(
            sorted(
                row.delivery.id
                for row in self.memory.rows.values()
                if row.delivery.message_id == claimed.message.id
                and row.delivery.state is State.QUEUED
                and row.delivery.return_path == claimed.delivery.return_path
                and row.delivery.due_at <= until
            )[:limit]
        )

    def waits(self, lane: Lane, domain: str) -> bool:
        """Return whether something that is due waits in a lane; nothing that only waits for another domain does."""
        if self._looked_at is None or is_paused(lane, self.memory.pauses):
            return True
        return any(
            self.lane_of(row) == lane and (row.delivery.domain == domain or row.delivery.id not in self._left)
            for row in self._open_to_claims()
            if row.lease_until is None
        )

    async def pauses(self) -> Sequence[Pause]:
        """Return what is not to be delivered for now."""
        self.fail()
        return list(self.memory.pauses)

    async def note_rest(self, site: str, rest: SiteRest | None) -> None:
        """Note that a site is left alone, or not any more."""
        self.fail()
        self.memory.rests.pop(site, None)
        if rest is not None:
            self.memory.rests[site] = rest

    async def rests(self) -> Sequence[SiteRest]:
        """Return the sites that are left alone now."""
        self.fail()
        return [rest for _, rest in sorted(self.memory.rests.items()) if rest.until > self.now()]

    async def content(self, queue_id: str) -> Content:
        """Return a message's octets."""
        self.fail()
        content = self.memory.contents.get(queue_id)
        if content is None:
            raise Damaged(f"message {queue_id}: its octets are gone")
        octets = b"\r\n".join((content.header, b"".join(content.body)))
        if hashlib.sha256(octets).digest() != self.memory.messages[queue_id].checksum:
            raise Damaged(f"message {queue_id}: its octets are not those that were accepted")
        return content

    async def settle(self, settled: Settled) -> Sequence[Event] | None:
        """Keep what an attempt meant, if the lease is still ours."""
        self.fail()
        settlement = settled.settlement
        if settlement.state not in MOVES[State.ACTIVE]:
            raise ValueError(f"a delivery cannot go from active to {settlement.state}")
        row = self._ours(settlement.claimed.delivery.id)
        if row is None:
            return None
        if settled.dsn is not None:
            self._insert(settled.dsn)
        old, again = row.delivery, settlement.state is State.QUEUED
        row.delivery = replace(
            old,
            state=settlement.state,
            due_at=self.now() + (settlement.retry_in or timedelta(0)) if again else old.due_at,
            attempts=old.attempts + int(settlement.attempted),
            site=settlement.site or old.site,
            hold_reason=settlement.hold_reason if settlement.state is State.HELD else None,
            delay_noticed=old.delay_noticed or settlement.delay_noticed,
            last_reply=settlement.reply,
            last_host=_speaker(settlement),
        )
        row.owner = row.lease_until = None
        self._finish(old.message_id)
        return self._write_settled(settled)

    async def file(self, delivery_id: str) -> Filed | None:
        """Return a delivery in whatever state it is."""
        self.fail()
        row = self.memory.rows.get(delivery_id)
        return None if row is None else Filed(self.memory.messages[row.delivery.message_id], row.delivery)

    async def members(self, path: GroupPath, addresses: Collection[str]) -> Sequence[Member]:
        """Return those of a group that are to one of some addresses."""
        self.fail()
        wanted = {one.lower() for one in addresses if one.isascii()}
        return [
            Member(one.id, str(one.recipient.mailbox))
            for one in sorted((row.delivery for row in self.memory.rows.values()), key=lambda one: one.id)
            if one.message_id == path.queue_id
            and one.return_path is not None
            and one.return_path.local_part == path.local_part
            and str(one.recipient.mailbox).lower() in wanted
        ]

    async def settle_late(self, settled: Settled) -> Sequence[Event] | None:
        """Move a delivery that was delivered."""
        self.fail()
        settlement = settled.settlement
        if settlement.state not in MOVES[State.DELIVERED]:
            raise ValueError(f"a delivery cannot go from delivered to {settlement.state}")
        row = self.memory.rows.get(settlement.claimed.delivery.id)
        if row is None or self._state_or_wait(row) is not State.DELIVERED:
            return None
        row.delivery = replace(
            row.delivery, state=settlement.state, last_reply=settlement.reply, last_host=_speaker(settlement)
        )
        row.late = True
        if settled.dsn is not None:
            self._insert(settled.dsn)
        return self._write_settled(settled)

    async def late(self, after: str, since: datetime) -> Late:
        """Return all that is late, at once."""
        self.fail()
        found = [
            Filed(message, row.delivery)
            for id, row in sorted(self.memory.rows.items())
            if row.delivery.state is State.QUEUED and not row.delivery.delay_noticed
            if Notify.DELAY in row.delivery.recipient.notify
            if not (message := self.memory.messages[row.delivery.message_id]).reverse_path.is_null
            if id > after and (message.release_at or message.accepted_at) + row.delivery.held_for <= since
        ]
        return Late(tuple(found), found[-1].delivery.id if found else "", more=False)

    async def tell_late(self, settled: Settled) -> Sequence[Event] | None:
        """Note that a submitter was told."""
        self.fail()
        row = self.memory.rows[settled.settlement.claimed.delivery.id]
        if row.delivery.state is not State.QUEUED or row.delivery.delay_noticed:
            return None
        row.delivery = replace(row.delivery, delay_noticed=True)
        if settled.dsn is not None:
            self._insert(settled.dsn)
        self.write_events(settled.events)
        return settled.events

    async def complain(self, complaint: Complaint) -> Sequence[Event] | None:
        """Keep the first complaint about a delivery that reached somebody, or that is forgotten."""
        self.fail()
        row = self.memory.rows.get(complaint.delivery_id)
        if row is not None and not (self._state_or_wait(row) is State.DELIVERED or row.late):
            return None
        if complaint.delivery_id in self.memory.complaints:
            return None
        self.memory.complaints.add(complaint.delivery_id)
        is_new = self._suppress(complaint.suppression)
        written = (complaint.event, complaint.on_suppressing) if is_new else (complaint.event,)
        self.write_events(written)
        return written

    async def note(self, note: ReturnNote) -> None:
        """Keep a note, one of each kind for a delivery."""
        self.fail()
        if note.delivery_id is None or all(
            (one.delivery_id, one.kind) != (note.delivery_id, note.kind) for one in self.notes
        ):
            self.notes.append(note)

    async def extend(self, delivery_ids: Collection[str]) -> frozenset[str]:
        """Renew leases that are ours."""
        self.fail()
        ours = {id: row for id in delivery_ids if (row := self._ours(id)) is not None}
        for row in ours.values():
            row.lease_until = self.now() + self._lease
        return frozenset(ours)

    async def release(self, delivery_ids: Collection[str]) -> None:
        """Give back leases that are ours."""
        self.fail()
        for id in delivery_ids:
            if (row := self._ours(id)) is not None:
                row.delivery = replace(row.delivery, state=State.QUEUED)
                row.owner = row.lease_until = None

    async def give_back_of(self, worker: int) -> int:
        """Give back the leases of another worker."""
        self.fail()
        if worker == self._worker:
            raise ValueError(f"worker {worker} is this one, and lives")
        theirs = [row for row in self.memory.rows.values() if row.owner == worker]
        for row in theirs:
            row.delivery = replace(row.delivery, state=State.QUEUED)
            row.owner = row.lease_until = None
        return len(theirs)

    async def next_due(self) -> timedelta | None:
        """Return how long until something is due."""
        self.fail()
        rows = self.memory.rows.values()
        leases = (row.lease_until for row in rows if row.lease_until is not None)
        times = [until for until in leases if self._looked_at is None or until > self._looked_at]
        times += [
            row.delivery.due_at
            for row in rows
            if row.delivery.state is State.QUEUED
            and row.delivery.id not in self._left
            and not is_paused(self.lane_of(row), self.memory.pauses)
        ]
        return max(timedelta(0), min(times) - self.now()) if times else None

    def fail(self) -> None:
        """Raise the failure that is set."""
        if self.failure is not None:
            raise self.failure

    async def returns(self) -> list[ReturnNote]:
        """Return the notes, newest first, without octets."""
        return [replace(note, octets=None) for note in reversed(self.notes)]

    def write_events(self, events: Sequence[Event]) -> None:
        """Keep events and count them."""
        self.events.extend(events)
        for event in events:
            tally = tally_of(event)
            if tally is None or event.account is None or event.stream is None:
                continue
            standing = self.memory.standings.get((event.account, event.stream))
            key = (event.account, str(event.stream), standing.epoch if standing else 0, slot_of(event.at))
            self.memory.tallies[key] = self.memory.tallies.get(key, Tally()) + tally

    def holding(self, account: str, address: Mailbox) -> Suppression | None:
        """Return the entry that holds now for an address."""
        entry = self.memory.suppressions.get((account, str(address)))
        return entry if entry is not None and entry.holds(self.now()) else None

    def _write(self, new: NewMessage, events: Sequence[Event], lease: int) -> tuple[Claimed, ...]:
        due = [one.id for one in new.deliveries if one.state is State.QUEUED and one.due_at <= self.now()][:lease]
        self._insert(new)
        self.write_events(events)
        return tuple(replace(one, content=new.content) for one in self._take(due))

    def _has_written(self, account: str, address: str) -> bool:
        return any(
            self.memory.messages[row.delivery.message_id].account == account
            and str(row.delivery.recipient.mailbox) == address
            for row in self.memory.rows.values()
        )

    def _write_settled(self, settled: Settled) -> Sequence[Event]:
        settlement, entry, events = settled.settlement, settled.settlement.suppression, settled.events
        if settlement.state is State.DELIVERED:
            claimed = settlement.claimed
            self.memory.suspects.pop((claimed.message.account, str(claimed.delivery.recipient.mailbox)), None)
        if settlement.withheld:
            if entry is not None:
                self.memory.withheld.append(settlement)
            self.write_events(events)
            return events
        if entry is not None and settlement.suspicion:
            first = self.memory.suspects.setdefault((entry.account, str(entry.address)), self.now())
            entry = entry if self.now() - first >= SEEN_AGAIN_AFTER else None
        if entry is not None and self._suppress(entry) and settled.on_suppressing is not None:
            events = (*events, settled.on_suppressing)
        self.write_events(events)
        return events

    def _suppress(self, entry: Suppression) -> bool:
        """Put an entry on the list unless a longer one is there; return whether the address was not on it."""
        key = (entry.account, str(entry.address))
        there = self.holding(entry.account, entry.address)
        self.memory.suspects.pop(key, None)
        ends = datetime.max.replace(tzinfo=UTC)
        if there is None or (there.expires_at or ends) < (entry.expires_at or ends):
            self.memory.suppressions[key] = entry
        return there is None

    def _state_or_wait(self, row: _Row) -> State:
        if row.delivery.state is State.ACTIVE:
            raise StoreUnavailable(f"delivery {row.delivery.id} is being attempted right now")
        return row.delivery.state

    def _insert(self, new: NewMessage) -> None:
        wrong = [one for one in new.deliveries if one.state not in _BEGINNINGS]
        if wrong:
            raise ValueError(f"delivery {wrong[0].id} cannot begin as {wrong[0].state}")
        if new.message.id in self.memory.messages or any(one.id in self.memory.rows for one in new.deliveries):
            raise StoreUnavailable(f"{new.message.id} is there already")
        self.memory.messages[new.message.id] = new.message
        self.memory.contents[new.message.id] = new.content
        self.memory.rows |= {one.id: _Row(one) for one in new.deliveries}
        self._finish(new.message.id)

    def lane_of(self, row: _Row) -> Lane:
        """Return the lane of a delivery."""
        message = self.memory.messages[row.delivery.message_id]
        return Lane(message.stream, message.account)

    def _open_to_claims(self) -> list[_Row]:
        return [
            row
            for row in self.memory.rows.values()
            if self._is_due(row) and not is_paused(self.lane_of(row), self.memory.pauses)
        ]

    def _is_due(self, row: _Row) -> bool:
        if row.lease_until is not None:
            return row.lease_until <= self.now()
        return row.delivery.state is State.QUEUED and row.delivery.due_at <= self.now()

    def _take(self, ids: Iterable[str]) -> list[Claimed]:
        until, taken = self.now() + self._lease, []
        for row in (self.memory.rows[id] for id in ids):
            row.delivery = replace(row.delivery, state=State.ACTIVE)
            row.owner, row.lease_until = self._worker, until
            message = self.memory.messages[row.delivery.message_id]
            listed = self.holding(message.account, row.delivery.recipient.mailbox)
            taken.append(Claimed(message, row.delivery, until, suppressed=listed))
        return taken

    def _ours(self, id: str) -> _Row | None:
        row = self.memory.rows.get(id)
        return row if row is not None and row.owner == self._worker else None

    def _finish(self, queue_id: str) -> None:
        rows = (row for row in self.memory.rows.values() if row.delivery.message_id == queue_id)
        if all(row.delivery.state.is_final for row in rows):
            self.memory.contents.pop(queue_id, None)


def _by_lane(store: MemoryStore, rows: Iterable[_Row]) -> Iterable[tuple[Lane, list[_Row]]]:
    """Return the rows that nobody leases by lane, transactional lanes first, accounts by name."""
    lanes: dict[Lane, list[_Row]] = {}
    for row in rows:
        if row.lease_until is None:
            lanes.setdefault(store.lane_of(row), []).append(row)
    return sorted(lanes.items(), key=lambda item: (list(Stream).index(item[0].stream), item[0].account))


def _speaker(settlement: Settlement) -> str | None:
    tries = reversed(settlement.tries)
    return next((one.host for one in tries if one.remote and one.reply == settlement.reply), None)
