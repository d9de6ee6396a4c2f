"""A dispatcher with everything around it: the memory store, a scripted world, and a clock that is moved by hand."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from mta.errors import StoreUnavailable
from mta.events import Event
from mta.queue.dispatcher import Dispatcher, World
from mta.queue.journal import Journal
from mta.queue.lanes import NOTHING, Lane
from mta.queue.model import Claimed, Content, NewMessage, State, Stream
from mta.queue.pace import Pace
from mta.queue.records import Records
from mta.queue.schedule import Schedule
from mta.queue.settle import Settled
from mta.queue.sites import BackOff
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.fakes.memory_store import Memory, MemoryStore
from tests.fakes.world import FakeRouter, FakeSealer, FakeTransport, Notes, Suspensions, stamp, verdicts

SCHEDULE = Schedule(
    (timedelta(minutes=5), timedelta(minutes=10)),
    {Stream.TRANSACTIONAL: timedelta(days=1), Stream.BULK: timedelta(days=4)},
    timedelta(hours=4),
)
BACK_OFF = BackOff(timedelta(minutes=1), timedelta(hours=1))


class WatchedStore(MemoryStore):
    """Counts claims; may be told that it can read and not write."""

    def __init__(self, clock: FakeClock, memory: Memory) -> None:
        super().__init__(clock, memory=memory)
        self.claims = self.contents_read = 0
        self.read_only: StoreUnavailable | None = None
        self.refusals = 0
        """How many settlements were not written."""
        self.bad: str | None = None
        """A delivery whose result is never taken."""
        self.settling: list[str] = []
        """The deliveries whose settlement was asked for, in order."""
        self.gate_after_release: asyncio.Event | None = None
        """While set to an event, who gave something back hears of it only then: it can be claimed again before."""
        self.released: list[str] = []
        """The deliveries that were given back, in order."""

    async def claim(
        self, limit: int, passing: Collection[str] = (), in_hand: Mapping[Lane, int] = NOTHING, window: int = 0
    ) -> list[Claimed]:
        """Lease what is due."""
        claimed = await super().claim(limit, passing, in_hand, window)
        self.claims += 1
        return claimed

    async def settle(self, settled: Settled) -> Sequence[Event] | None:
        """Write a settlement."""
        delivery_id = settled.settlement.claimed.delivery.id
        self.settling.append(delivery_id)
        if self.read_only is not None or delivery_id == self.bad:
            self.refusals += 1
            raise self.read_only or StoreUnavailable("this row is corrupt")
        return await super().settle(settled)

    async def content(self, queue_id: str) -> Content:
        """Return a message's octets."""
        self.contents_read += 1
        return await super().content(queue_id)

    async def release(self, delivery_ids: Collection[str]) -> None:
        """Give back leases."""
        await super().release(delivery_ids)
        self.released += delivery_ids
        if self.gate_after_release is not None:
            await self.gate_after_release.wait()

    async def extend(self, delivery_ids: Collection[str]) -> frozenset[str]:
        """Renew leases."""
        if self.read_only is not None:
            raise self.read_only
        return await super().extend(delivery_ids)


@dataclass
class House:
    """A dispatcher with everything around it."""

    clock: FakeClock = field(default_factory=FakeClock)
    pace: Pace = field(default_factory=Pace)
    journal: Journal | None = None
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.store = WatchedStore(self.clock, self.memory)
        self.router, self.sealer, self.transport, self.notes = FakeRouter(), FakeSealer(), FakeTransport(), Notes()
        self.suspensions = Suspensions()
        self.letters = Letters(self.clock)
        records = Records("mail.example.com", Letters(self.clock, worker=1).ids, self.clock.now)
        world = World(self.router, self.sealer, self.transport, stamp, self.suspensions.find)
        self.dispatcher = Dispatcher(
            self.store,
            world,
            records,
            verdicts(),
            SCHEDULE,
            [self.notes],
            self.clock,
            random.Random(1),
            self.pace,
            BACK_OFF,
            self.journal,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the dispatcher; what it had in hand is given back at the end."""
        task = asyncio.create_task(self.dispatcher.run())
        try:
            # whether something waits is known after the first look into the store
            await self.until(lambda: self.store.claims > 0 or task.done())
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def submit(
        self,
        *recipients: str,
        lease: bool = False,
        sender: str = "app@example.com",
        account: str = "app",
        stream: Stream = Stream.TRANSACTIONAL,
        shared: str | None = None,
    ) -> list[str]:
        """Accept a message; return its deliveries' ids."""
        new = self.letters.new(recipients, sender=sender, account=account, stream=stream, shared=shared)
        accepted = await self.store.accept(new, [], self._places(new) if lease else 0)
        self.dispatcher.hand_over(accepted.leased)
        self.dispatcher.wake(new.message)
        return [delivery.id for delivery in new.deliveries]

    def _places(self, new: NewMessage) -> int:
        return self.dispatcher.places(new.message, [delivery.domain for delivery in new.deliveries])

    async def until(self, condition: object) -> None:
        """Let the loop run until a condition, a function without arguments, is true."""
        assert callable(condition)
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  what is waited for is in another object, and has no event
                await asyncio.sleep(0.001)

    async def states(self, ids: list[str], *wanted: State) -> None:
        """Wait until deliveries are in some states, and until that was told."""
        await self.until(lambda: tuple(self.store.state_of(one) for one in ids) == wanted)
        for _ in range(100):
            # the store has it before its answer is back in the dispatcher, which then tells the observers
            await asyncio.sleep(0)

    async def attempts(self, condition: Callable[[], bool], most: int = 5000) -> None:
        """Let attempts end one by one until a condition is true; each sets the next one free before it."""
        turns = self.transport.turns
        assert turns is not None
        for _ in range(most):
            if condition():
                return
            done = len(self.transport.recipients)
            turns.release()
            await self.until(lambda done=done: len(self.transport.recipients) > done)
            for _ in range(50):
                # turns of the loop, not time: what follows from it has happened then, however slow the machine is
                await asyncio.sleep(0)
        raise AssertionError(f"not after {most} attempts")

    async def pass_time(self, span: timedelta) -> None:
        """Move the clock, and let the dispatcher look."""
        self.clock.advance(span)
        self.dispatcher.wake()
