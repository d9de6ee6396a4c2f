"""The commands of a server on a real store and real standings, with a worker of the tests' own."""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from mta.accounts.account import Account, Directory
from mta.accounts.watch import Policy, StandingWatch
from mta.control.commands import Door, Reloaded, ServerCommands
from mta.control.protocol import Request
from mta.control.standing import StandingCommands
from mta.events import Event, EventType
from mta.queue.model import State
from mta.reputation.rates import Limit, Limits
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Selector
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters

APP = Account("app", frozenset({"example.com"}))
DOOR = Door("127.0.0.1", 587, "starttls", "ab12")
SHOP = Account("shop", frozenset({"shop.example"}))
OTHER = Account("other", frozenset({"shop.example"}))
LIMITS = Limits(
    windows=(timedelta(hours=24),),
    bounces=Limit(0.05, 0.10),
    complaints=Limit(0.001, 0.002),
    min_volume=500,
    warn_min_volume=100,
)


@dataclass
class FakeWorker:
    """A worker with three accounts and one listener."""

    directory: Directory = field(default_factory=lambda: Directory([APP, SHOP, OTHER]))
    listener: Door | None = DOOR
    refreshed: int = 0
    woken: int = 0
    events: list[Event] = field(default_factory=list)

    def sends_for(self, domain: str) -> bool:
        return domain in ("example.com", "shop.example")

    async def reload(self) -> Reloaded:
        return Reloaded(("account",), ("hostname",), ("a warning",))

    async def refresh_accounts(self) -> None:
        self.refreshed += 1

    def wake(self) -> None:
        self.woken += 1

    def status(self) -> Mapping[str, Any]:
        return {"hostname": "mail.example.com"}

    def door(self) -> Door | None:
        return self.listener

    def one_use_credential(self, account: str, stream: str | None) -> tuple[str, str]:
        return (f"{account}/{stream}" if stream else account), "secret"

    def knows(self, account: str) -> bool:
        return self.directory.get(account) is not None

    def observe(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Bench:
    """The commands, and what they work on."""

    store: SqliteStore
    worker: FakeWorker
    watch: StandingWatch

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Self]:
        path = str(folder / "queue.db")
        async with SqliteStore.open(path, FakeClock(), min_free=0.0, dice=random.Random(1)) as store:
            worker = FakeWorker()
            yield cls(store, worker, StandingWatch(store.book, Policy(LIMITS), worker, store.now, store.ids.next))

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        (row,) = await self.rows(command, **arguments)
        return row

    async def rows(self, command: str, **arguments: Any) -> list[dict[str, Any]]:
        desk = self.store.desk(self.worker)
        standing = StandingCommands(desk, self.watch, self.worker.knows, FakeClock(self.store.now()))
        commands = ServerCommands(self.worker, desk, self.store.reader, standing)
        return [row async for row in commands.run(Request(command, arguments), "uid 0")]

    async def accept(self, *recipients: str) -> str:
        """Put a message of account `app` into the store; return its queue id."""
        letters = Letters(FakeClock(self.store.now()))
        letters.ids = self.store.ids
        new = letters.new(recipients)
        await self.store.accept(new, [Event(self.store.ids.next(), self.store.now(), EventType.ACCEPTED)])
        return new.message.id

    async def states(self, queue_id: str) -> list[State]:
        return [row.state for row in await self.store.reader.select(Selector(id=queue_id))]
