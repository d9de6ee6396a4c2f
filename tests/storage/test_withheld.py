"""Bounces that are not believed yet: they do nothing, survive, and have their effect once they are believed."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.accounts.standing import Standing
from mta.events import EventType
from mta.mail.address import Mailbox
from mta.queue.model import Claimed, State
from mta.queue.withheld import Applied
from mta.reputation.rates import Tally, slot_of
from mta.storage.sqlite import SqliteStore
from mta.storage.statements import Statements
from mta.storage.views import WithheldRow
from mta.storage.withheld import KEPT, STEP, withheld
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.fakes.world import Notes
from tests.storage.disk import ask
from tests.storage.rig import Rig

SITE = "mx.example.net"
STREAM = Standing("app", "transactional")
COUNTED = frozenset({("app", "transactional")})


@pytest.fixture
def rig(store: SqliteStore, clock: FakeClock) -> Rig:
    """One worker on disk."""

    async def no_other() -> SqliteStore:
        raise NotImplementedError

    return Rig(clock, Letters(clock), no_other, store, store.reader.returns)


async def bounce(rig: Rig, address: str = "a@example.net") -> Claimed:
    """Have a delivery bounce that is not believed."""
    claimed = await rig.claimed(address)
    entry = rig.entry(address, delivery_id=claimed.delivery.id)
    told = rig.told(claimed, State.BOUNCED, suppression=entry, withheld=True, site=SITE)
    (event,) = told.events
    told = replace(told, events=(replace(event, detail={"breaker": True}),), on_suppressing=None)
    assert await rig.store.settle(told) == told.events
    return claimed


async def counted(store: SqliteStore) -> dict[int, Tally]:
    return dict(await store.book.slots(STREAM, 0))


async def test_it_suppresses_nobody_counts_nowhere_and_waits(rig: Rig, store: SqliteStore) -> None:
    await bounce(rig)
    first = rig.clock.now()
    rig.clock.advance(60)
    await bounce(rig, "b@example.net")
    assert await rig.found() is None
    assert await counted(store) == {}
    now = rig.clock.now()
    assert await withheld(store.reader) == [WithheldRow(SITE, "app", "transactional", 2, first, now)]
    assert await withheld(store.reader, "other") == []
    assert await store.withheld.withheld_since() == {SITE: now}


async def test_what_is_believed_suppresses_and_counts_when_it_happened(rig: Rig, store: SqliteStore) -> None:
    claimed = await bounce(rig)
    slot = slot_of(rig.clock.now())
    rig.clock.advance(timedelta(hours=2))
    applied = await store.withheld.apply(SITE, rig.clock.now())
    (event,) = applied.events
    assert applied == Applied(1, (event,), COUNTED)
    assert (event.type, event.queue_id, event.recipient) == (
        EventType.SUPPRESSION_ADDED,
        claimed.message.id,
        "a@example.net",
    )
    assert event.detail["withheld"] is True
    assert await rig.found() == rig.entry(delivery_id=claimed.delivery.id, at=rig.clock.now() - timedelta(hours=2))
    assert await counted(store) == {slot: Tally(ended=1, hard_bounced=1)}
    assert (await store.withheld.apply(SITE, rig.clock.now())).seen == 0
    assert event in await store.reader.events_of(claimed.message.id)


async def test_who_was_delivered_to_since_stays_out_of_it(rig: Rig, store: SqliteStore) -> None:
    await bounce(rig)
    await bounce(rig, "b@example.net")
    rig.clock.advance(60)
    await rig.delivered()
    applied = await store.withheld.apply(SITE, rig.clock.now())
    assert (applied.seen, [event.recipient for event in applied.events]) == (2, ["b@example.net"])
    assert await rig.found() is None
    assert sum(tally.hard_bounced for tally in (await counted(store)).values()) == 1


async def test_of_a_stream_that_was_reinstated_since_it_suppresses_but_does_not_count(
    rig: Rig, store: SqliteStore
) -> None:
    await bounce(rig)
    await store.book.write(replace(STREAM, epoch=1, by="root"), None)
    applied = await store.withheld.apply(SITE, rig.clock.now())
    assert (len(applied.events), applied.counted) == (1, frozenset())
    assert await rig.found() is not None


async def test_an_entry_that_would_have_ended_by_now_is_not_made(rig: Rig, store: SqliteStore) -> None:
    claimed = await rig.claimed()
    entry = rig.entry(delivery_id=claimed.delivery.id, expires_at=rig.clock.now() + timedelta(hours=1))
    await rig.store.settle(rig.told(claimed, State.BOUNCED, suppression=entry, withheld=True, site=SITE))
    rig.clock.advance(timedelta(hours=2))
    applied = await store.withheld.apply(SITE, rig.clock.now())
    assert (applied.seen, applied.events) == (1, ())


async def test_it_goes_in_steps_and_later_ones_are_left(rig: Rig, store: SqliteStore) -> None:
    for number in range(STEP + 5):
        await bounce(rig, f"u{number}@example.net")
    until = rig.clock.now()
    rig.clock.advance(1)
    await bounce(rig, "later@example.net")
    assert [(await store.withheld.apply(SITE, until)).seen for _ in range(3)] == [STEP, 5, 0]
    assert await store.withheld.waiting(SITE) == 1
    assert (await store.withheld.apply("mx.other.example", rig.clock.now())).seen == 0


async def test_an_operator_lets_them_be_believed_and_all_workers_can_hear_of_it(
    rig: Rig, store: SqliteStore, path: str
) -> None:
    desk = store.desk(Notes())
    assert await desk.believe(SITE, "root", "they moved") == 0
    assert await store.withheld.believed() == {}
    await bounce(rig)
    assert await desk.believe(SITE, "root", "they moved") == 1
    said = await store.withheld.believed()
    assert said == {SITE: rig.clock.now()}
    # who says so again in the same moment is heard again
    assert await desk.believe(SITE, "root", "they moved") == 1
    assert await store.withheld.believed() != said
    assert (
        ask(path, "SELECT who, action, target, reason, detail FROM audit")
        == [("root", "bounces apply", SITE, "they moved", '{"changed": 1}')] * 2
    )


async def test_an_operator_discards_them_whole(rig: Rig, store: SqliteStore, path: str) -> None:
    for number in range(STEP + 5):
        await bounce(rig, f"u{number}@example.net")
    assert await store.desk(Notes()).disbelieve(SITE, "root", "an outage") == STEP + 5
    assert await withheld(store.reader) == []
    assert await rig.store.suppression_list.find("app", Mailbox.parse("u1@example.net")) is None
    assert await store.desk(Notes()).disbelieve(SITE, "root", "again") == 0
    assert ask(path, "SELECT action, target FROM audit") == [("bounces discard", SITE)]


async def test_what_nobody_ever_judged_is_forgotten_with_the_counts_that_it_would_move(
    rig: Rig, store: SqliteStore
) -> None:
    await bounce(rig)
    await store.desk(Notes()).believe(SITE, "root", "they moved")
    rig.clock.advance(KEPT - timedelta(hours=1))
    await store.purge()
    assert await store.withheld.waiting(SITE) == 1
    rig.clock.advance(timedelta(hours=2))
    await store.purge()
    assert await store.withheld.waiting(SITE) == 0
    assert await store.withheld.believed() == {}


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("withheld_of", "SEARCH withheld USING COVERING INDEX withheld_by_site (site=? AND at<?)"),
        ("withheld_at", "SEARCH withheld USING COVERING INDEX withheld_by_site (site=?)"),
        ("withheld_sites", "SEARCH w USING COVERING INDEX withheld_by_site (site>?)"),
        ("take_withheld", "SEARCH withheld USING PRIMARY KEY (delivery_id=?)"),
        ("take_withheld", "SEARCH d USING INDEX deliveries_by_recipient (recipient=?)"),
        ("discard_withheld", "SEARCH withheld USING COVERING INDEX withheld_by_site (site=? AND at<?)"),
        ("purge_withheld", "SEARCH withheld USING COVERING INDEX withheld_by_time (at<?)"),
    ],
)
def test_what_waits_is_found_by_an_index(store: SqliteStore, path: str, name: str, step: str) -> None:
    params = dict.fromkeys(("site", "until", "limit", "ids", "before"))
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {Statements.load()[name]}", params).fetchall()
    assert any(step in row[3] for row in rows), [row[3] for row in rows]
