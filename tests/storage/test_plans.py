"""Plans of the statements, with a queue long enough for a scan to be the wrong choice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from mta.queue.model import Stream
from mta.storage.sqlite import SqliteStore
from mta.storage.statements import Statements
from mta.storage.views import Selector
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask, open_store

LINE = 200_000


@pytest.fixture(scope="module")
def long_queue(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with many deliveries due, written past it."""
    path = str(tmp_path_factory.mktemp("line") / "queue.db")

    async def fill() -> None:
        clock = FakeClock()
        async with open_store(path, clock) as store:
            new = Letters(clock).new()
            await store.accept(new, [])

    asyncio.run(fill())
    ask(
        path,
        """
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
        INSERT INTO deliveries (id, queue_id, account, stream, accepted_at, recipient, domain, notify, state, due_at,
            attempts, held_for, delay_noticed)
        SELECT printf('z%015d', n), m.id, m.account, m.stream, m.accepted_at, printf('u%d@example.net', n),
               'example.net', '', 'queued', m.accepted_at + n, 0, 0, 0
        FROM number, messages AS m
        """,
        LINE,
    )
    return path


SELECTED = dict.fromkeys(
    ("id", "after", "account", "stream", "domain", "state", "accepted_before", "tag", "site", "hold_reason", "limit")
)
STEPS: dict[str, dict[str, Any]] = {
    "lanes": {"stream": "bulk", "after": "", "limit": 10},
    "due": {"stream": "bulk", "account": "", "after_due": 0, "after_id": "", "window": 10},
    "due_to": {"stream": "bulk", "account": "", "domain": "", "until": 0, "limit": 10},
    "due_domains": {"stream": "bulk", "account": "", "after": "", "limit": 10},
    "brothers": {"queue_id": "", "return_path": "", "until": 0, "limit": 50},
    "members": {"queue_id": "", "local_part": "", "addresses": "[]"},
    "lapsed": {"now": 2**60, "passing": "[]", "limit": 10},
    "old": {"after": "", "until": "", "window": 10},
    "out_of_time": {"now": 0, "limit": 10},
    "settle": dict.fromkeys(
        (
            *("id", "state", "due_at", "attempted", "site", "hold_reason", "held_since", "delay_noticed", "final_at"),
            *("reply_code", "reply_status", "reply_text", "reply_host", "owner"),
        )
    ),
    "is_message": {"id": ""},
    "is_event": {"id": ""},
    "still_leased": {"ids": "[]", "owner": 1},
    "finish_messages": {"ids": "[]", "now": 0},
    "finish_whole": {"ids": "[]", "now": 0},
    "lease": {"owner": 1, "lease_until": 0, "ids": "[]"},
    "claimed": {"ids": "[]", "now": 0},
    "extend": {"owner": 1, "lease_until": 0, "ids": "[]"},
    "release": {"owner": 1, "ids": "[]"},
    "without_open": {"ids": "[]"},
    "waiting_lanes": {"streams": '["bulk"]'},
    "next_lapse": {"after": 0},
    "ids_queued": SELECTED,
    "ids_held": SELECTED,
    "rows_of": SELECTED | {"ids": "[]"},
    "messages_to_purge": {"before": 0, "limit": 1},
    "purge_messages": {"ids": "[]"},
    "purge_events": {"before": "", "limit": 1},
    "delete_contents": {"ids": "[]"},
    "next_content": {},
    "content": {"queue_id": ""},
    "rows_by_id": SELECTED,
    "find": dict.fromkeys(("text", "bracketed", "recipient", "limit")),
    "events_of": {"queue_id": "", "limit": 1},
    "bodies_to_purge": {"before": 0, "limit": 1},
    "holding": {"asked": "[]", "now": 0},
    "suppression": {"account": "", "address": ""},
    "suppressed": {"limit": 1},
    "suppressions": {"after_account": "", "after_address": "", "now": 0, "limit": 1},
    "suppressions_of_account": {"account": "", "after_address": "", "now": 0, "limit": 1},
    "suppressions_of_address": {"address": "", "account": None, "now": 0, "limit": 1},
    "clear_suspect": {"account": "", "address": ""},
    "clear_suspects": {"delivered": "[]"},
    "suspected_since": {"account": "", "address": ""},
    "add_tally": dict.fromkeys(
        ("account", "stream", "slot", "delivered", "ended", "hard_bounced", "complained"),
    ),
    "slots": {"account": "", "stream": "", "epoch": 0, "since": 0},
    "slots_of_streams": {"account": "", "streams": "[]", "since": 0},
    "filed": {"id": ""},
    "state_of": {"id": ""},
    "settle_late": dict.fromkeys(
        ("id", "state", "attempted", "site", "reply_code", "reply_status", "reply_text", "reply_host", "final_at"),
    ),
    "returns": {"since": 0, "kind": None, "limit": 1},
    "rejected": {"since": 0, "limit": 1},
    "return": {"id": ""},
    "events_about": {"recipient": "", "limit": 1},
    "purge_returns": {"before": 0, "limit": 1},
    "purge_rejected": {"most": 1, "limit": 1},
    "purge_complaints": {"before": 0, "limit": 1},
    "purge_suspects": {"before": 0, "limit": 1},
    "purge_tallies": {"before": 0, "limit": 1},
    "used": {"account": "", "kind": "", "since": 0, "until": 0},
    "uses": {"account": "", "kind": "", "since": 0, "until": 0},
    "use": dict.fromkeys(("account", "kind", "ends_at", "last_at", "count", "forget_at")),
    "strangers": {"account": "", "asked": '[["u1@example.net", "u1@example.net"]]', "most": 1},
    "acquaint": {"account": "", "address": "", "now": 0},
    "submitted_before": {"digest": b"", "now": 0},
    "submitted": {"digest": b"", "recipient": "", "queue_id": "", "forget_at": 0},
    "purge_allowances": {"before": 0, "limit": 1},
    "purge_acquaintances": {"before": 0, "limit": 1},
    "purge_submissions": {"before": 0, "limit": 1},
}


@pytest.mark.parametrize("name", STEPS)
def test_no_step_of_a_message_walks_a_whole_table(long_queue: str, name: str) -> None:
    plan = ask_plan(long_queue, name)
    with closing(sqlite3.connect(long_queue)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    # and their short names
    tables |= {"d", "m", "c", "s", "t", "a"}
    # the minimum of an indexed column is its first entry, though the plan says SEARCH or SCAN by the index
    scans = [line for line in plan if line.startswith("SCAN") and line.split()[1] in tables]
    assert not scans, plan


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("due", "deliveries_due (stream=? AND account=? AND (due_at,id)>(?,?))"),
        ("due_to", "deliveries_due_to (stream=? AND account=? AND domain=? AND due_at<?)"),
        ("due_domains", "deliveries_due_to (stream=? AND account=? AND domain>?)"),
        ("lanes", "(stream=? AND account>?)"),
        ("lanes", "deliveries_due (stream=? AND account=?)"),
        ("waiting_lanes", "(stream=? AND account>?)"),
        ("waiting_lanes", "deliveries_due (stream=? AND account=?)"),
        ("old", "deliveries_queued (id>? AND id<?)"),
        ("ids_queued", "deliveries_queued (id>?)"),
        ("ids_held", "deliveries_held (id>?)"),
        ("out_of_time", "deliveries_expiring (expires_at>? AND expires_at<?)"),
        ("lapsed", "deliveries_leased (lease_until<?)"),
    ],
)
def test_what_waits_is_looked_at_in_the_order_of_an_index_and_nothing_is_sorted(
    long_queue: str, name: str, step: str
) -> None:
    plan = ask_plan(long_queue, name)
    assert any(line.endswith(step) for line in plan), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan


def test_whom_an_account_knows_is_looked_up_by_its_address_and_by_the_recipient_of_deliveries(long_queue: str) -> None:
    plan = ask_plan(long_queue, "strangers")
    assert any("SEARCH a USING PRIMARY KEY (account=? AND address=?)" in line for line in plan), plan
    assert any("SEARCH d USING INDEX deliveries_by_recipient (recipient=?)" in line for line in plan), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("used", "SEARCH allowances USING PRIMARY KEY (account=? AND kind=? AND ends_at>? AND ends_at<?)"),
        ("submitted_before", "SEARCH submissions USING PRIMARY KEY (digest=?)"),
        ("purge_allowances", "SEARCH allowances USING COVERING INDEX allowances_by_end (forget_at<?)"),
        ("purge_acquaintances", "SEARCH acquaintances USING COVERING INDEX acquaintances_by_time (since<?)"),
        ("purge_submissions", "SEARCH submissions USING COVERING INDEX submissions_by_end (forget_at<?)"),
    ],
)
def test_what_is_left_of_an_allowance_is_looked_up_by_an_index(long_queue: str, name: str, index: str) -> None:
    plan = ask_plan(long_queue, name)
    assert index in plan, plan


def ask_plan(path: str, name: str) -> list[str]:
    sql = "EXPLAIN QUERY PLAN " + Statements.load()[name]
    with closing(sqlite3.connect(path)) as connection:
        return [row[3] for row in connection.execute(sql, STEPS.get(name) or SELECTED)]


async def test_a_claim_looks_at_no_more_rows_of_a_long_queue_than_of_a_short_one(long_queue: str) -> None:
    steps = []
    clock = FakeClock()
    clock.advance(timedelta(days=1))
    async with open_store(long_queue, clock) as store:
        await store._writer.run(lambda connection: connection.set_progress_handler(lambda: steps.append(1), 100))
        claimed = await store.claim(10)
    assert len(claimed) == 10
    # a step is a hundred instructions of SQLite's machine; a walk over the line would be ten thousand of them
    assert len(steps) < 100


class Counted:
    """Counts the instructions of SQLite's machine, in hundreds, that a store's work takes."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.steps = 0

    async def of(self, work: Awaitable[object]) -> int:
        """Return what some work took, on the writer's connection and on the reader's."""
        await self._watch(self._count)
        self.steps = 0
        await work
        await self._watch(None)
        return self.steps

    async def _watch(self, handler: Callable[[], int] | None) -> None:
        await self._store._writer.run(lambda connection: connection.set_progress_handler(handler, 100))
        await self._store.reader._connection.set_progress_handler(handler, 100)  # type: ignore[arg-type]  # may be None

    def _count(self) -> int:
        self.steps += 1
        return 0


@pytest.fixture
async def long(long_queue: str) -> AsyncIterator[SqliteStore]:
    """The store of the long queue, a day later: everything is due."""
    clock = FakeClock()
    clock.advance(timedelta(days=1))
    async with open_store(long_queue, clock) as store:
        yield store


async def test_passing_over_a_line_goes_on_where_the_last_claim_stopped(long: SqliteStore) -> None:
    assert await long.claim(10, ["example.net"]) == []
    assert await Counted(long).of(long.claim(10, ["example.net"])) < 30


@pytest.mark.parametrize(
    "ask",
    [
        SqliteStore.next_due,
        lambda store: store.reader.totals(),
        lambda store: store.reader.select(Selector(account="app"), 10),
        lambda store: store.reader.select(Selector(account="app"), 10, "z000000000150000"),
        lambda store: store.claim_old({Stream.TRANSACTIONAL: store.now() - timedelta(days=9)}, 10),
    ],
    ids=["next_due", "totals", "first page", "later page", "claim_old"],
)
async def test_what_is_asked_all_the_time_costs_the_same_in_a_long_queue(
    long: SqliteStore, ask: Callable[[SqliteStore], Awaitable[object]]
) -> None:
    assert await Counted(long).of(ask(long)) < 300
