"""What operators change, what it leaves behind, and what they cannot change."""

import json
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mta.errors import Damaged
from mta.events import Event, EventType
from mta.mail.address import Mailbox
from mta.mail.reply import Reply
from mta.queue.model import NewMessage, PauseScope, State
from mta.queue.settle import Settled, Settlement
from mta.reputation.suppression import Cause, Origin, Suppression
from mta.storage.changes import STEP_OCTETS, Order, Verb
from mta.storage.desk import Desk
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Change, Selector, StoredAccount
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters


@dataclass
class Notes:
    """Hears of events."""

    events: list[Event] = field(default_factory=list)

    def observe(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Office:
    """A store, its desk, and what is heard of it."""

    store: SqliteStore
    clock: FakeClock
    path: str

    def __post_init__(self) -> None:
        self.notes = Notes()
        self.desk: Desk = self.store.desk(self.notes)
        self.letters = Letters(self.clock)

    async def accept(self, *recipients: str, release_in: timedelta | None = None) -> NewMessage:
        new = self.letters.new(recipients)
        if release_in is not None:
            at = self.clock.now() + release_in
            deliveries = tuple(replace(one, due_at=at) for one in new.deliveries)
            new = replace(new, message=replace(new.message, release_at=at), deliveries=deliveries)
        await self.store.accept(new, [])
        return new

    async def states(self, new: NewMessage) -> list[State]:
        return [row.state for row in await self.store.reader.select(Selector(id=new.message.id))]

    def counted(self) -> list[dict[str, int]]:
        """What the audit says came of each change."""
        with closing(sqlite3.connect(self.path)) as connection:
            return [json.loads(row[0]) for row in connection.execute("SELECT detail FROM audit ORDER BY id")]

    def audit(self) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT who, action, target, reason FROM audit ORDER BY id").fetchall()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    clock, path = FakeClock(), str(tmp_path / "queue.db")
    async with SqliteStore.open(path, clock, min_free=0.0, dice=random.Random(1)) as store:
        yield Office(store, clock, path)


async def test_what_is_held_is_not_claimed_until_it_is_released(office: Office) -> None:
    new = await office.accept("a@example.net")
    assert await office.desk.hold(Selector(), "root", "odd") == Change(1, 0, 0)
    assert (await office.store.claim(1), await office.states(new)) == ([], [State.HELD])
    assert await office.desk.release(Selector(), "root", "fine") == Change(1, 0, 0)
    (claimed,) = await office.store.claim(1)
    assert claimed.delivery.hold_reason is None


async def test_time_held_does_not_count_as_age(office: Office) -> None:
    await office.accept("a@example.net")
    for _ in range(2):
        await office.desk.hold(Selector(), "root", "odd")
        office.clock.advance(timedelta(hours=3))
        await office.desk.release(Selector(), "root", "fine")
        office.clock.advance(timedelta(hours=1))
    (claimed,) = await office.store.claim(1)
    assert claimed.delivery.held_for == timedelta(hours=6)


async def test_a_change_leaves_an_event_for_each_delivery_and_one_audit_row(office: Office) -> None:
    new = await office.accept("a@example.net", "b@example.net")
    await office.desk.hold(Selector(domain="example.net"), "root", "odd")
    events = await office.store.reader.events_of(new.message.id)
    assert [(event.type, event.delivery_id) for event in events] == [(EventType.HELD, one.id) for one in new.deliveries]
    assert events[0].detail == {"who": "root", "reason": "odd"}
    assert office.notes.events == events
    assert office.audit() == [("root", "queue hold", "--domain example.net", "odd")]


async def test_a_selection_that_means_nothing_leaves_nothing(office: Office) -> None:
    assert await office.desk.cancel(Selector(id="nothing"), "root", "typo") == Change(0, 0, 0)
    assert (office.audit(), office.notes.events) == ([], [])


async def test_nothing_is_changed_behind_a_workers_back(office: Office) -> None:
    new = await office.accept("a@example.net")
    await office.store.claim(1)
    for change in (office.desk.hold, office.desk.release, office.desk.retry, office.desk.cancel):
        assert await change(Selector(id=new.message.id), "root", "now") == Change(0, 1, 0)
    assert await office.states(new) == [State.ACTIVE]


async def test_what_is_final_stays_as_it_is(office: Office) -> None:
    new = await office.accept("a@example.net")
    await office.desk.cancel(Selector(), "root", "wrong")
    for change in (office.desk.hold, office.desk.release, office.desk.retry, office.desk.cancel):
        assert await change(Selector(id=new.message.id), "root", "now") == Change(0, 0, 1)


async def test_cancelling_the_last_open_delivery_removes_the_octets(office: Office) -> None:
    new = await office.accept("a@example.net", "b@example.org")
    await office.desk.cancel(Selector(domain="example.net"), "root", "wrong")
    assert await office.store.content(new.message.id) == new.content
    await office.desk.hold(Selector(domain="example.org"), "root", "odd")
    await office.desk.cancel(Selector(domain="example.org"), "root", "wrong")
    assert await office.states(new) == [State.CANCELLED, State.CANCELLED]
    with pytest.raises(Damaged, match="gone"):
        await office.store.content(new.message.id)


async def test_retry_makes_deliveries_due_now_but_not_before_their_release(office: Office) -> None:
    await office.accept("later@example.net", release_in=timedelta(days=1))
    assert await office.desk.retry(Selector(), "root", "now") == Change(1, 0, 0)
    assert await office.store.claim(1) == []
    waiting = office.letters.new(["a@example.net"])
    in_an_hour = replace(waiting.deliveries[0], due_at=office.clock.now() + timedelta(hours=1))
    await office.store.accept(replace(waiting, deliveries=(in_an_hour,)), [])
    await office.desk.retry(Selector(id=waiting.message.id), "root", "their host is back")
    assert [one.message.id for one in await office.store.claim(10)] == [waiting.message.id]


async def test_a_released_delivery_waits_for_its_release_time(office: Office) -> None:
    await office.accept("later@example.net", release_in=timedelta(days=1))
    await office.desk.hold(Selector(), "root", "odd")
    await office.desk.release(Selector(), "root", "fine")
    assert await office.store.next_due() == timedelta(days=1)


async def test_a_large_selection_is_changed_in_steps_and_whole(office: Office) -> None:
    await office.accept(*(f"u{number}@example.net" for number in range(450)))
    order = Order(Verb.HOLD, Selector(), "root", "odd")
    steps = [change.changed async for change in office.desk.changing(order)]
    assert len(steps) > 3
    assert steps[-1] == 450
    assert len(office.notes.events) == 450
    assert office.audit() == [("root", "queue hold", "everything", "odd")]
    assert office.counted() == [{"changed": 450, "active": 0, "other": 0}]


async def test_who_stops_listening_finds_done_and_noted_what_was_done(office: Office) -> None:
    await office.accept(*(f"u{number}@example.net" for number in range(450)))
    async with aclosing(office.desk.changing(Order(Verb.HOLD, Selector(), "root", "odd"))) as changes:
        done = (await anext(changes)).changed
    assert 0 < done < 450
    assert office.counted() == [{"changed": done, "active": 0, "other": 0}]
    assert len(await office.store.reader.select(Selector(state=State.HELD), 1000)) == done


async def test_octets_of_many_large_messages_are_not_removed_at_once(office: Office) -> None:
    for _ in range(5):
        large = office.letters.new(["a@example.net"])
        # as if it were that large: the size is what the row says
        await office.store.accept(replace(large, message=replace(large.message, size=STEP_OCTETS // 2)), [])
    order = Order(Verb.CANCEL, Selector(), "root", "wrong")
    assert [change.changed async for change in office.desk.changing(order)] == [2, 4, 5]


async def test_a_whole_queue_is_not_walked_through_for_what_a_change_cannot_touch(office: Office) -> None:
    held = await office.accept("a@example.net")
    await office.desk.hold(Selector(), "root", "odd")
    await office.accept("b@example.net")
    assert await office.desk.release(Selector(), "root", "fine") == Change(1, 0, 0)
    assert await office.states(held) == [State.QUEUED]


@pytest.mark.parametrize(
    ("scope", "value", "claimed"),
    [
        (PauseScope.ALL, "", 0),
        (PauseScope.ACCOUNT, "app", 0),
        (PauseScope.ACCOUNT, "other", 1),
        (PauseScope.STREAM, "transactional", 0),
        (PauseScope.STREAM, "bulk", 1),
    ],
)
async def test_what_is_paused_is_not_claimed_until_it_is_resumed(
    office: Office, scope: PauseScope, value: str, claimed: int
) -> None:
    await office.accept("a@example.net")
    assert await office.desk.pause(scope, value, "root", "maintenance")
    assert len(await office.store.claim(10)) == claimed
    assert await office.desk.resume(scope, value, "root", "")
    assert len(await office.store.claim(10)) == 1 - claimed


async def test_a_pause_is_made_and_ended_once_each_with_an_audit_row(office: Office) -> None:
    change = ("mx.example.net", "root", "they asked us to")
    assert [await office.desk.pause(PauseScope.SITE, *change) for _ in range(2)] == [True, False]
    (pause,) = await office.store.pauses()
    assert (pause.scope, pause.value, pause.reason, pause.who) == (
        PauseScope.SITE,
        "mx.example.net",
        "they asked us to",
        "root",
    )
    assert [await office.desk.resume(PauseScope.SITE, *change) for _ in range(2)] == [True, False]
    assert await office.store.pauses() == []
    assert [row[1:3] for row in office.audit()] == [
        ("queue pause", "--site mx.example.net"),
        ("queue resume", "--site mx.example.net"),
    ]


async def test_an_account_made_by_command_is_there_and_can_be_changed(office: Office) -> None:
    made = office.clock.now()
    await office.desk.put_account("shop", json.dumps({"name": "shop"}), "root", "new customer")
    office.clock.advance(60)
    await office.desk.put_account("shop", json.dumps({"name": "shop", "rate": "1/h"}), "root", "abuse")
    stored = StoredAccount("shop", '{"name": "shop", "rate": "1/h"}', made, office.clock.now())
    assert await office.store.reader.account("shop") == stored
    assert await office.store.reader.accounts() == [stored]
    assert await office.store.reader.account("none") is None
    assert [event.type for event in office.notes.events] == [EventType.ACCOUNT_CHANGED] * 2
    assert [row[3] for row in office.audit()] == ["new customer", "abuse"]


def entry(office: Office, address: str = "a@example.net", expires_in: timedelta | None = None) -> Suppression:
    """What an operator puts on the list."""
    now = office.clock.now()
    ends = None if expires_in is None else now + expires_in
    return Suppression("shop", Mailbox.parse(address), Cause.MANUAL, Origin.OPERATOR, now, ends, "asked by phone")


async def test_an_operator_puts_an_address_on_the_list_with_an_event_and_an_audit_row(office: Office) -> None:
    added = entry(office)
    assert await office.desk.add_suppression(added, "root")
    assert await office.store.suppression_list.find("shop", added.address) == added
    (event,) = office.notes.events
    assert (event.type, event.account, event.recipient) == (EventType.SUPPRESSION_ADDED, "shop", "a@example.net")
    assert event.detail == {
        "cause": "manual",
        "origin": "operator",
        "expires_at": None,
        "reason": "asked by phone",
        "who": "root",
    }
    assert await office.store.reader.events_about("a@example.net") == [event]
    assert office.audit() == [("root", "suppression add", "shop a@example.net", "asked by phone")]


async def test_adding_what_is_there_for_as_long_changes_nothing_and_for_longer_is_told(office: Office) -> None:
    for days, changes in ((30, True), (1, False), (60, True)):
        assert await office.desk.add_suppression(entry(office, expires_in=timedelta(days=days)), "root") is changes
    assert len(office.notes.events) == len(office.audit()) == 2


async def test_an_operator_takes_an_address_off_the_list_once(office: Office) -> None:
    added = entry(office)
    await office.desk.add_suppression(added, "root")
    assert await office.desk.remove_suppression("shop", added.address, "root", "a typo of theirs")
    assert not await office.desk.remove_suppression("shop", added.address, "root", "again")
    assert await office.store.suppression_list.find("shop", added.address) is None
    event = office.notes.events[-1]
    assert (event.type, event.recipient) == (EventType.SUPPRESSION_REMOVED, "a@example.net")
    assert event.detail == {"who": "root", "reason": "a typo of theirs"}
    assert [row[1:] for row in office.audit()[1:]] == [("suppression remove", "shop a@example.net", "a typo of theirs")]
    assert await office.store.reader.events_about("a@EXAMPLE.net") == office.notes.events


async def test_taking_an_address_off_forgets_what_it_was_suspected_of(office: Office) -> None:
    suspected = entry(office)
    for _ in range(2):
        await office.accept("a@example.net")
        (claimed,) = await office.store.claim(1)
        reply = Reply.of(550, "5.1.2", "no such domain")
        settlement = Settlement(claimed, State.BOUNCED, reply, EventType.BOUNCED, suppression=suspected, suspicion=True)
        await office.store.settle(Settled(settlement, ()))
        await office.desk.remove_suppression("shop", suspected.address, "root", "it is back")
        office.clock.advance(timedelta(days=2))
    assert await office.store.reader.suppressions() == []


def test_a_selector_reads_as_it_was_typed() -> None:
    assert str(Selector(domain="example.net", state=State.HELD)) == "--domain example.net --state held"
    assert str(Selector(older_than=timedelta(days=1))) == "--older-than 1 day, 0:00:00"
    assert str(Selector()) == "everything"
