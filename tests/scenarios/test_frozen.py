"""A worker that stands still for longer than its leases last: another one delivers what it had, and when it wakes it
finds out just before the final dot that it has lost it (the short form moves a clock by hand, the long form waits)."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from mta.control.client import Client
from mta.queue.dispatcher import Dispatcher, World
from mta.queue.records import Records
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.fakes.house import SCHEDULE
from tests.fakes.letters import Letters
from tests.fakes.world import FakeRouter, FakeSealer, FakeTransport, Notes, Suspensions, stamp, verdicts
from tests.scenarios.house import PATIENCE, SOAK, House, open_house
from tests.scenarios.sinks import Patience, Sink, Step

RECIPIENT = "a@slow.example"
LEASE = 60.0
"""Seconds."""


@dataclass
class Worker:
    """A dispatcher on a store of its own, whose file others share."""

    store: SqliteStore
    dispatcher: Dispatcher
    transport: FakeTransport
    notes: Notes


@asynccontextmanager
async def working(path: Path, clock: FakeClock) -> AsyncIterator[Worker]:
    """Run a worker while this is entered."""
    async with SqliteStore.open(str(path), clock, min_free=0.0, dice=random.Random(1)) as store:
        transport, notes = FakeTransport(), Notes()
        world = World(FakeRouter(), FakeSealer(), transport, stamp, Suspensions().find)
        records = Records("mail.example.com", store.ids, store.now)
        dispatcher = Dispatcher(store, world, records, verdicts(), SCHEDULE, [notes], clock, random.Random(1))
        task = asyncio.create_task(dispatcher.run())
        try:
            yield Worker(store, dispatcher, transport, notes)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.01)


async def test_what_a_worker_lost_while_it_stood_still_is_dropped_before_the_dot(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "queue.db"
    async with working(path, clock) as slow:
        slow.transport.gate = asyncio.Event()
        await slow.store.accept(Letters(clock).new([RECIPIENT]), [], 0)
        slow.dispatcher.wake()
        await until(lambda: slow.transport.waiting == 1)
        clock.advance(slow.store.lease + timedelta(seconds=1))
        async with working(path, clock) as other:
            await until(lambda: other.notes.types == ["delivered"])
            slow.transport.gate.set()
            await until(lambda: slow.dispatcher.in_hand == 0)
            assert (len(other.transport.letters), slow.transport.letters) == (1, [])
            assert slow.notes.types == []


# the long form


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Let a process stand still while this is entered."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.skipif(not SOAK, reason="a lease lasts a minute: make soak")
@pytest.mark.timeout(300)
async def test_a_process_that_stood_still_for_longer_than_its_lease_sends_no_second_copy(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        patience = Patience(Step.DATA, at_most=1)
        sink = await stack.enter_async_context(Sink(patience).listening())
        route = f'[[route]]\ndomain = "slow.example"\nrelay = "{sink.relay}"\n'
        house = await stack.enter_async_context(open_house(tmp_path / "house", workers=2, more=route))
        await house.submit(RECIPIENT)
        await house.see("one has it in hand", lambda: patience.waiting == 1)
        with frozen(await _holder(house)):
            await asyncio.sleep(LEASE)
            await house.see("the other one delivers it", lambda: not house.open_deliveries())
            assert sink.taken[RECIPIENT] == 1
        patience.over.set()
        await house.see("it has dropped it", lambda: house.logged("lost") > 0)
        await house.server.stop()
        assert sink.taken[RECIPIENT] == 1


async def _holder(house: House) -> int:
    """Return the process of the worker that has a delivery in hand."""
    client = Client(house.folder / "data" / "control.sock")
    status = await asyncio.to_thread(lambda: client.one("status"))
    (pid,) = [row["pid"] for row in status["workers"] if row.get("in_hand")]
    return int(pid)
