"""Stores: each kind of them for the contract, and one on disk."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.fakes.memory_store import Memory, MemoryStore
from tests.storage.disk import open_store
from tests.storage.rig import Rig, WholeStore


@pytest.fixture
def clock() -> FakeClock:
    """The time of a test."""
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a store's file is."""
    return str(tmp_path / "queue.db")


@pytest.fixture
async def store(path: str, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    """A store on disk."""
    async with open_store(path, clock) as store:
        yield store


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, path: str, clock: FakeClock) -> AsyncIterator[Rig]:
    """Each kind of store. Two stores on one medium are two workers."""
    memory = Memory()
    async with AsyncExitStack() as stack:

        async def open_memory() -> WholeStore:
            return MemoryStore(clock, memory=memory)

        async def open_sqlite() -> SqliteStore:
            return await stack.enter_async_context(open_store(path, clock))

        if request.param == "memory":
            in_memory = MemoryStore(clock, memory=memory)
            yield Rig(clock, Letters(clock), open_memory, in_memory, in_memory.returns)
        else:
            store = await open_sqlite()
            yield Rig(clock, Letters(clock), open_sqlite, store, store.reader.returns)
