"""A queue in numbers: what is counted, and by which indexes."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

import pytest

from mta.queue.lanes import Lane
from mta.queue.model import State, Stream
from mta.storage.overview import AGES, By, Overview
from mta.storage.sqlite import SqliteStore
from mta.storage.statements import Statements
from mta.storage.views import Selector
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask


async def accept(store: SqliteStore, clock: FakeClock, *recipients: str, **changes: object) -> str:
    letters = Letters(clock)
    letters.ids = store.ids
    new = letters.new(recipients, **changes)  # type: ignore[arg-type]  # whatever the letter takes
    await store.accept(new, [])
    return new.message.id


@pytest.fixture
def overview(store: SqliteStore, clock: FakeClock) -> Overview:
    return Overview(store.reader, clock)


async def test_deliveries_are_counted_by_domain_and_age(
    store: SqliteStore, overview: Overview, clock: FakeClock
) -> None:
    for minutes, count in ((2000, 1), (330, 2), (16, 3), (0, 4)):
        clock.step(-timedelta(minutes=minutes))
        await accept(store, clock, *(f"u{number}@example.net" for number in range(count)))
        clock.step(timedelta(minutes=minutes))
    await accept(store, clock, "a@example.org")
    shape = await overview.shape()
    assert [age // timedelta(minutes=1) for age in shape.ages] == [5, 10, 20, 40, 80, 160, 320, 640, 1280]
    assert [(row.name, row.count, row.by_age) for row in shape.rows] == [
        ("example.net", 10, (4, 0, 3, 0, 0, 0, 0, 2, 0, 1)),
        ("example.org", 1, (1, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    ]
    assert shape.rows[0].oldest == clock.now() - timedelta(minutes=2000)
    assert [row.name for row in (await overview.shape(By.DOMAIN, 1)).rows] == ["example.net"]
    assert (await overview.shape(By.DOMAIN, 1)).is_cut


async def test_by_site_what_was_never_tried_has_none(
    store: SqliteStore, overview: Overview, clock: FakeClock, path: str
) -> None:
    tried = await accept(store, clock, "a@example.net", "b@example.org")
    await accept(store, clock, "c@example.com")
    ask(path, "UPDATE deliveries SET site = 'mx.example' WHERE queue_id = ?", tried)
    assert {row.name: row.count for row in (await overview.shape(By.SITE)).rows} == {"mx.example": 2, "": 1}
    assert {row.name: row.sites for row in (await overview.shape()).rows} == {
        "example.net": ("mx.example",),
        "example.org": ("mx.example",),
        "example.com": (),
    }


async def test_lanes_are_counted_with_what_is_due_first(
    store: SqliteStore, overview: Overview, clock: FakeClock
) -> None:
    first = clock.now()
    await accept(store, clock, "a@example.net", account="shop", stream=Stream.BULK)
    clock.advance(60)
    await accept(store, clock, "a@example.net", "b@example.net", account="app")
    await accept(store, clock, "a@example.net", account="shop", stream=Stream.BULK)
    await accept(store, clock, "a@example.net", account="shop", stream=Stream.BULK)
    assert [(row.lane, row.count, row.due_at) for row in await overview.lanes()] == [
        (Lane(Stream.BULK, "shop"), 3, first),
        (Lane(Stream.TRANSACTIONAL, "app"), 2, clock.now()),
    ]


@pytest.mark.parametrize(
    ("selector", "counts"),
    [
        (Selector(), {State.QUEUED: 3, State.ACTIVE: 1, State.HELD: 1}),
        (Selector(state=State.HELD), {State.HELD: 1}),
        (Selector(domain="EXAMPLE.net"), {State.QUEUED: 1, State.ACTIVE: 1}),
        (Selector(account="nobody"), {}),
        (Selector(older_than=timedelta(hours=1)), {State.QUEUED: 1, State.ACTIVE: 1, State.HELD: 1}),
        (Selector(stream="bulk"), {}),
        (Selector(site="mx.example"), {State.HELD: 1}),
        (Selector(hold_reason="od"), {State.HELD: 1}),
        (Selector(state=State.DELIVERED), {}),
    ],
    ids=str,
)
async def test_a_selection_is_counted_as_it_would_be_listed(
    store: SqliteStore,
    overview: Overview,
    clock: FakeClock,
    path: str,
    selector: Selector,
    counts: dict[State, int],
) -> None:
    await accept(store, clock, "a@example.net", "b@example.com", "c@example.org")
    (claimed,) = await store.claim(1)
    ask(path, "UPDATE deliveries SET domain = 'example.net' WHERE id = ?", claimed.delivery.id)
    held = (await store.reader.select(Selector(state=State.QUEUED)))[0]
    ask(
        path,
        "UPDATE deliveries SET state = 'held', hold_reason = 'odd', held_since = 1, site = 'mx.example', "
        "domain = 'example.org' WHERE id = ?",
        held.id,
    )
    clock.advance(timedelta(hours=2))
    await accept(store, clock, "d@example.net", "e@example.com")
    assert await overview.count(selector) == counts
    listed = await store.reader.select(selector, 100)
    assert sum(counts.values()) == len(listed)


async def test_what_is_ahead_of_a_delivery_is_what_of_its_lane_is_due_before_it(
    store: SqliteStore, overview: Overview, clock: FakeClock
) -> None:
    await accept(store, clock, "a@example.net", "b@example.net")
    await accept(store, clock, "a@example.net", account="other")
    clock.advance(1)
    last = await accept(store, clock, "c@example.net")
    (row,) = await store.reader.select(Selector(id=last))
    assert await overview.ahead(row) == 2


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("ages_by_domain", {"COVERING INDEX deliveries_queued", "COVERING INDEX deliveries_held"}),
        ("ages_by_account", {"COVERING INDEX deliveries_queued", "COVERING INDEX deliveries_held"}),
        ("lane_counts", {"COVERING INDEX deliveries_due"}),
        ("counts_selected", {"COVERING INDEX deliveries_queued", "COVERING INDEX deliveries_held"}),
        ("sites_to", {"INDEX deliveries_due_to (stream=? AND account=? AND domain=?)"}),
        ("ahead", {"COVERING INDEX deliveries_due (stream=? AND account=? AND (due_at,id)<(?,?))"}),
        ("ages_by_site", {"COVERING INDEX deliveries_queued", "COVERING INDEX deliveries_held"}),
        ("audit", {"PRIMARY KEY (id<?)"}),
    ],
)
async def test_a_long_queue_is_read_by_its_indexes(store: SqliteStore, path: str, name: str, steps: set[str]) -> None:
    plan = _plan(path, name)
    assert all(any(step in line for line in plan) for step in steps), plan
    assert not any(line.strip() in ("SCAN deliveries", "SCAN audit") for line in plan), plan


def _plan(path: str, name: str) -> Sequence[str]:
    names = (
        "account",
        "domain",
        "stream",
        "site",
        "accepted_before",
        "limit",
        "due_at",
        "id",
        "ids",
        "before",
        "since",
        "action",
    )
    params = {**dict.fromkeys(names), **dict.fromkeys(f"b{column}" for column in range(len(AGES)))}
    with closing(sqlite3.connect(path)) as connection:
        return [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + Statements.load()[name], params)]
