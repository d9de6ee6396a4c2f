"""What every store promises of mail that is late: found in the order of acceptance, told of once."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.events import EventType
from mta.mail.envelope import Notify
from mta.queue.model import Claimed, NewMessage, State
from mta.queue.returned import Filed
from mta.queue.settle import Settled
from mta.storage.late import FOUND, STRETCH
from mta.storage.sqlite import SqliteStore
from mta.storage.statements import Statements
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask
from tests.storage.rig import LATER, Rig

HOUR = timedelta(hours=1)


async def accept(rig: Rig, new: NewMessage) -> list[str]:
    await rig.store.accept(new, [])
    return [delivery.id for delivery in new.deliveries]


async def late(rig: Rig, after: str = "") -> list[Filed]:
    return list((await rig.store.late(after, rig.clock.now() - HOUR)).found)


async def found(rig: Rig, after: str = "") -> list[str]:
    return [filed.delivery.id for filed in await late(rig, after)]


def told(rig: Rig, filed: Filed) -> Settled:
    """A notice of delay, with its message."""
    claimed = Claimed(filed.message, filed.delivery, rig.clock.now())
    settled = rig.told(claimed, State.QUEUED, reply=LATER, event=EventType.DELAYED_NOTICE, delay_noticed=True)
    return replace(settled, dsn=rig.letters.new(["app@example.com"], sender=""), on_suppressing=None)


async def test_what_waits_is_late_when_its_age_says_so_whether_it_is_due_or_not(rig: Rig) -> None:
    ids = await accept(rig, rig.letters.new(["a@example.net", "b@example.net"]))
    first = (await rig.store.claim(1))[0]
    await rig.store.settle(rig.told(first, State.QUEUED, reply=LATER, retry_in=timedelta(days=1)))
    rig.clock.advance(HOUR - timedelta(seconds=1))
    assert await found(rig) == []
    rig.clock.advance(2)
    assert await found(rig) == ids
    assert await found(rig, ids[0]) == ids[1:]


async def test_what_is_found_has_what_was_said_of_it_last(rig: Rig) -> None:
    claimed = await rig.claimed()
    await rig.store.settle(rig.told(claimed, State.QUEUED, reply=LATER, retry_in=timedelta(days=1)))
    rig.clock.advance(2 * HOUR)
    (filed,) = await late(rig)
    assert (filed.message.id, filed.delivery.last_reply, filed.delivery.attempts) == (claimed.message.id, LATER, 1)


async def test_what_nobody_wants_to_hear_of_is_not_found(rig: Rig) -> None:
    new = rig.letters.new(["a@example.net"])
    recipient = replace(new.deliveries[0].recipient, notify=frozenset({Notify.FAILURE}))
    await accept(rig, replace(new, deliveries=(replace(new.deliveries[0], recipient=recipient),)))
    await accept(rig, rig.letters.new(["a@example.net"], sender=""))
    rig.clock.advance(2 * HOUR)
    assert await found(rig) == []


async def test_the_age_of_mail_with_a_release_time_counts_from_there(rig: Rig) -> None:
    new = rig.letters.new(["a@example.net"])
    release_at = rig.clock.now() + 3 * HOUR
    ids = await accept(rig, replace(new, message=replace(new.message, release_at=release_at)))
    rig.clock.advance(2 * HOUR)
    assert await found(rig) == []
    rig.clock.advance(2 * HOUR)
    assert await found(rig) == ids


async def test_what_is_in_hand_is_left_to_its_attempt(rig: Rig) -> None:
    await rig.claimed()
    rig.clock.advance(timedelta(seconds=30))
    assert await rig.store.late("", rig.clock.now() + HOUR) == replace(
        await rig.store.late("", rig.clock.now()), found=()
    )


async def test_who_was_told_is_told_once_and_the_notification_is_due(rig: Rig) -> None:
    ids = await accept(rig, rig.letters.new(["a@example.net"]))
    rig.clock.advance(2 * HOUR)
    (filed,) = await late(rig)
    first, second = told(rig, filed), told(rig, filed)
    assert await rig.store.tell_late(first) == first.events
    assert await rig.store.tell_late(second) is None
    assert await found(rig) == []
    assert first.dsn is not None
    claimed = await rig.store.claim(10)
    assert {one.message.id for one in claimed} == {filed.message.id, first.dsn.message.id}
    (mine,) = [one.delivery for one in claimed if one.delivery.id == ids[0]]
    assert (mine.delay_noticed, mine.attempts, mine.last_reply) == (True, 0, None)


async def test_nobody_is_told_of_what_a_worker_has_taken_in_hand_meanwhile(rig: Rig) -> None:
    await accept(rig, rig.letters.new(["a@example.net"]))
    rig.clock.advance(2 * HOUR)
    (filed,) = await late(rig)
    await rig.store.claim(1)
    assert await rig.store.tell_late(told(rig, filed)) is None


# on disk: in stretches


async def test_a_long_queue_is_looked_at_in_stretches_that_go_on_where_the_last_one_ended(
    store: SqliteStore, clock: FakeClock, path: str
) -> None:
    count = STRETCH + 10
    await store.accept(Letters(clock).new([f"u{number}@example.net" for number in range(count)]), [])
    clock.advance(2 * HOUR)
    seen: list[str] = []
    after, more, steps = "", True, 0
    while more:
        stretch = await store.late(after, clock.now() - HOUR)
        seen += [filed.delivery.id for filed in stretch.found]
        after, more, steps = stretch.last, stretch.more, steps + 1
    assert (len(set(seen)), len(seen)) == (count, count)
    assert steps <= count // FOUND + 3
    # all are told of: the whole stretch is passed over in one step
    ask(path, "UPDATE deliveries SET delay_noticed = 1")
    first = await store.late("", clock.now() - HOUR)
    assert (first.found, first.more) == ((), True)


async def test_a_row_that_cannot_be_read_keeps_nobody_from_being_told(
    store: SqliteStore, clock: FakeClock, path: str
) -> None:
    new = Letters(clock).new(["a@example.net", "b@example.net"])
    await store.accept(new, [])
    ask(path, "UPDATE deliveries SET recipient = '@' WHERE id = ?", new.deliveries[0].id)
    clock.advance(2 * HOUR)
    stretch = await store.late("", clock.now() - HOUR)
    assert [filed.delivery.id for filed in stretch.found] == [new.deliveries[1].id]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("stretch", "SEARCH deliveries USING COVERING INDEX deliveries_queued (id>? AND id<?)"),
        ("late", "SEARCH d USING INDEX deliveries_queued (id>? AND id<?)"),
        ("note_delay", "SEARCH deliveries USING PRIMARY KEY (id=?)"),
    ],
)
def test_what_is_late_is_found_by_an_index(store: SqliteStore, path: str, name: str, step: str) -> None:
    params = dict.fromkeys(("after", "until", "window", "last", "since", "limit", "id"))
    with closing(sqlite3.connect(path)) as connection:
        rows = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {Statements.load()[name]}", params)]
    assert any(step in row for row in rows), rows
    assert not any("TEMP B-TREE" in row for row in rows), rows
