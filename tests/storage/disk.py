"""What the tests of the store on disk share: opening it, looking past it into the file, and delivering all there is."""

import contextlib
import random
import sqlite3
from contextlib import closing

from mta.events import Event, EventType
from mta.mail.reply import Reply
from mta.queue.model import State
from mta.queue.settle import Settled, Settlement
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Retention
from tests.fakes.clock import FakeClock

OK = Reply.of(250, "2.0.0", "Ok")


def open_store(
    path: str,
    clock: FakeClock,
    min_free: float = 0.0,
    retention: Retention = Retention(),  # noqa: B008 - a frozen value
) -> contextlib.AbstractAsyncContextManager[SqliteStore]:
    """Open a store that never finds its disk full, unless told so."""
    return SqliteStore.open(path, clock, min_free=min_free, dice=random.Random(1), retention=retention)


def ask(path: str, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    """Look into the file, or change it, past the store."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, parameters).fetchall()


async def deliver_all(store: SqliteStore) -> None:
    """Have everything that is due delivered."""
    for claimed in await store.claim(100):
        settlement = Settlement(claimed, State.DELIVERED, OK, EventType.DELIVERED)
        event = Event(store.ids.next(), store.now(), EventType.DELIVERED, queue_id=claimed.message.id)
        assert await store.settle(Settled(settlement, (event,))) == (event,)
