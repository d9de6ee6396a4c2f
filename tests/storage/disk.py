"""What the tests of the store on disk share: opening it, looking past it into the file, and delivering all there is."""

import contextlib
import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, cast

from mta.events import Event, EventType
from mta.mail.reply import Reply
from mta.queue.model import State
from mta.queue.settle import Settled, Settlement
from mta.storage.connect import connect
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Retention
from tests.fakes.clock import FakeClock

OK = Reply.of(250, "2.0.0", "Ok")


def open_store(
    path: str,
    clock: FakeClock,
    min_free: float = 0.0,
    retention: Retention = Retention(),  # noqa: B008 - a frozen value
    opener: Callable[[str], sqlite3.Connection] = connect,
    helper: Sequence[str] | None = None,
) -> contextlib.AbstractAsyncContextManager[SqliteStore]:
    """Open a store that never finds its disk full, unless told so."""
    return SqliteStore.open(
        path, clock, min_free=min_free, dice=random.Random(1), retention=retention, opener=opener, helper=helper
    )


def ask(path: str, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    """Look into the file, or change it, past the store."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, parameters).fetchall()


class _Forgetful:
    """A connection whose COMMITs are not answered, as planned: `done`, `lost`, or, empty, as they should be."""

    def __init__(self, connection: sqlite3.Connection, plan: list[str]) -> None:
        self._connection = connection
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        # without a transaction around it, an INSERT commits by itself
        alone = sql.startswith("INSERT") and not self._connection.in_transaction
        answer = self._plan.pop(0) if (sql == "COMMIT" or alone) and self._plan else ""
        if not answer:
            return self._connection.execute(sql, *parameters)
        if answer == "done":
            self._connection.execute(sql, *parameters)
        elif not alone:
            self._connection.execute("ROLLBACK")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


def forgetful(
    plan: list[str], opener: Callable[[str], sqlite3.Connection] = connect
) -> Callable[[str], sqlite3.Connection]:
    """An opener of such connections, which share the plan: what becomes of each COMMIT, in their order."""
    return lambda path: cast(sqlite3.Connection, _Forgetful(opener(path), plan))


async def deliver_all(store: SqliteStore) -> None:
    """Have everything that is due delivered."""
    for claimed in await store.claim(100):
        settlement = Settlement(claimed, State.DELIVERED, OK, EventType.DELIVERED)
        event = Event(store.ids.next(), store.now(), EventType.DELIVERED, queue_id=claimed.message.id)
        assert await store.settle(Settled(settlement, (event,))) == (event,)
