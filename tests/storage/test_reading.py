"""What is read beside the writer, also by a process without a server."""

import random
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mta.accounts.standing import Standing
from mta.accounts.standing import State as StandingState
from mta.errors import StoreUnavailable
from mta.events import Event, EventType
from mta.mail.address import Mailbox
from mta.mail.outcome import Try
from mta.mail.reply import Reply
from mta.queue.model import NewMessage, State, Stream
from mta.queue.returned import ReturnNote
from mta.queue.settle import Settled, Settlement
from mta.reputation.suppression import Cause, Origin, Suppression
from mta.storage.reading import Reader
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Selector, Total
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.fakes.world import Notes

LATER = Reply.of(450, "4.7.1", "come back later")


async def accept(store: SqliteStore, *recipients: str, account: str = "app", tag: str | None = None) -> NewMessage:
    letters = Letters(FakeClock(store.now()))
    letters.ids = store.ids
    new = letters.new(recipients)
    new = replace(new, message=replace(new.message, account=account, tag=tag))
    event = Event(store.ids.next(), store.now(), EventType.ACCEPTED, account=account, queue_id=new.message.id)
    await store.accept(new, [event])
    return new


async def defer_one(store: SqliteStore) -> None:
    (claimed,) = await store.claim(1)
    said = Try("mx2.example.net", "192.0.2.1", 25, "rcpt", LATER, True)
    settlement = Settlement(
        claimed,
        State.QUEUED,
        LATER,
        EventType.DEFERRED,
        tries=(said,),
        retry_in=timedelta(hours=1),
        site="mx.example.net",
    )
    event = Event(store.ids.next(), store.now(), EventType.DEFERRED, queue_id=claimed.message.id, reply=LATER)
    await store.settle(Settled(settlement, (event,)))


async def test_a_row_shows_what_was_said_last_and_by_whom(store: SqliteStore) -> None:
    new = await accept(store, "a@example.net")
    await defer_one(store)
    (row,) = await store.reader.select(Selector(id=new.message.id))
    assert (row.state, row.attempts, row.site) == (State.QUEUED, 1, "mx.example.net")
    assert (row.reply, row.reply_host) == (LATER, "mx2.example.net")
    assert row.due_at == store.now() + timedelta(hours=1)
    assert (row.queue_id, row.reverse_path, row.stream) == (new.message.id, "app@example.com", Stream.TRANSACTIONAL)


@pytest.fixture
async def crowd(store: SqliteStore, clock: FakeClock) -> dict[str, str]:
    """Deliveries of every kind, by name."""
    old = await accept(store, "old@example.net")
    await defer_one(store)
    clock.advance(timedelta(hours=5))
    tagged = await accept(store, "tagged@example.org", account="shop", tag="autumn")
    (claimed,) = await store.claim(1)
    await store.settle(Settled(Settlement(claimed, State.BOUNCED, Reply.of(550, "5.1.1", "no"), EventType.BOUNCED), ()))
    # the old one was due first
    assert claimed.message.id == old.message.id
    leased = await accept(store, "leased@example.net")
    await store.claim(1, ["example.org"])
    return {new.deliveries[0].id: new.deliveries[0].recipient.mailbox.local_part for new in (old, tagged, leased)}


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        (Selector(), ["tagged", "leased"]),
        (Selector(state=State.BOUNCED), ["old"]),
        (Selector(state=State.ACTIVE), ["leased"]),
        (Selector(state=State.HELD), []),
        (Selector(account="shop"), ["tagged"]),
        (Selector(domain="EXAMPLE.net"), ["leased"]),
        (Selector(domain="example.net", state=State.BOUNCED), ["old"]),
        (Selector(tag="autumn"), ["tagged"]),
        (Selector(site="mx.example.net"), []),
        (Selector(site="mx.example.net", state=State.BOUNCED), ["old"]),
        (Selector(older_than=timedelta(hours=1)), []),
        (Selector(older_than=timedelta(hours=1), state=State.BOUNCED), ["old"]),
        (Selector(id="nothing"), []),
    ],
)
async def test_a_selector_means_deliveries_for_which_all_of_it_is_true(
    store: SqliteStore, crowd: dict[str, str], selector: Selector, names: list[str]
) -> None:
    assert [crowd[row.id] for row in await store.reader.select(selector)] == names


async def test_an_id_means_a_delivery_or_a_message_whatever_its_state(
    store: SqliteStore, crowd: dict[str, str]
) -> None:
    for delivery_id, name in crowd.items():
        (row,) = await store.reader.select(Selector(id=delivery_id))
        (same,) = await store.reader.select(Selector(id=row.queue_id))
        assert crowd[row.id] == crowd[same.id] == name


async def test_a_list_is_read_page_by_page(store: SqliteStore) -> None:
    new = await accept(store, *(f"u{number}@example.net" for number in range(5)))
    ids, after = [], ""
    while page := await store.reader.select(Selector(), 2, after):
        ids += [row.id for row in page]
        after = page[-1].id
    assert ids == [delivery.id for delivery in new.deliveries]


async def test_totals_count_what_is_open_and_know_the_oldest(
    store: SqliteStore, crowd: dict[str, str], clock: FakeClock
) -> None:
    assert await store.reader.totals() == {
        State.QUEUED: Total(1, clock.now()),
        State.ACTIVE: Total(1, clock.now()),
        State.HELD: Total(0, None),
    }


async def test_find_understands_ids_message_ids_and_recipients(store: SqliteStore) -> None:
    first = await accept(store, "Bob@example.net")
    second = await accept(store, "Bob@example.net", "c@example.net")
    find = store.reader.find
    assert await find(first.message.id) == [first.message.id]
    assert await find(second.deliveries[1].id) == [second.message.id]
    both = [second.message.id, first.message.id]
    assert await find("Bob@EXAMPLE.net") == both
    assert await find("bob@example.net") == []
    assert await find("<1@example.com>") == both
    assert await find("1@example.com") == both
    assert await find("nothing") == []


async def test_events_are_read_in_order_and_a_reader_that_goes_on_misses_none(store: SqliteStore) -> None:
    new = await accept(store, "a@example.net")
    await defer_one(store)
    story = await store.reader.events_of(new.message.id)
    assert [event.type for event in story] == [EventType.ACCEPTED, EventType.DEFERRED]
    assert story[1].reply == LATER
    assert await store.reader.events(limit=1) == story[:1]
    assert await store.reader.events(after_id=story[0].id) == story[1:]
    assert await store.reader.events(after_id=story[1].id) == []
    # its event was purged: go on with what is newer
    assert await store.reader.events(after_id=story[0].id + "0") == story[1:]


async def test_an_event_with_an_older_id_that_was_committed_later_is_not_missed(store: SqliteStore) -> None:
    early = store.ids.next()
    new = await accept(store, "a@example.net")
    (first,) = await store.reader.events()
    late = Event(early, store.now(), EventType.DEFERRED, queue_id=new.message.id)
    (claimed,) = await store.claim(1)
    await store.settle(Settled(Settlement(claimed, State.DELIVERED, LATER, EventType.DELIVERED), (late,)))
    assert await store.reader.events(after_id=first.id) == [late]


async def test_events_are_filtered_by_time_type_and_account(store: SqliteStore, clock: FakeClock) -> None:
    await accept(store, "a@example.net", account="shop")
    clock.advance(60)
    await accept(store, "b@example.net")
    await defer_one(store)
    read = store.reader.events
    assert [event.account for event in await read(account="shop")] == ["shop"]
    assert [event.type for event in await read(type=EventType.DEFERRED)] == [EventType.DEFERRED]
    assert [event.at for event in await read(since=clock.now())] == [clock.now()] * 2
    assert await read(since=clock.now() + timedelta(seconds=1)) == []


async def put(store: SqliteStore, account: str, address: str, expires_in: timedelta | None = None) -> Suppression:
    """Put an address on a list."""
    now = store.now()
    ends = None if expires_in is None else now + expires_in
    entry = Suppression(account, Mailbox.parse(address), Cause.MANUAL, Origin.OPERATOR, now, ends, "phone", "d")
    await store.desk(Notes()).add_suppression(entry, "root")
    return entry


async def test_suppressions_are_listed_page_by_page_by_account_and_address(store: SqliteStore) -> None:
    wanted = [
        await put(store, account, f"{name}@example.net") for account in ("app", "shop") for name in ("Z", "a", "b")
    ]
    found: list[Suppression] = []
    while page := await store.reader.suppressions(after=found[-1] if found else None, limit=2):
        found += page
    assert found == wanted
    assert await store.reader.suppressions("shop") == wanted[3:]
    assert await store.reader.suppressions("shop", after=wanted[3], limit=1) == wanted[4:5]
    both = [wanted[1], wanted[4]]
    assert await store.reader.suppressions_of(both[0].address) == both
    assert await store.reader.suppressions_of(both[0].address, "shop") == both[1:]


async def test_an_entry_that_has_ended_is_still_read_but_not_on_the_list(store: SqliteStore, clock: FakeClock) -> None:
    entry = await put(store, "app", "a@example.net", expires_in=timedelta(days=1))
    clock.advance(timedelta(days=1))
    assert await store.reader.suppression("app", entry.address) == entry
    assert await store.reader.suppressions() == await store.reader.suppressions("app") == []
    assert await store.reader.suppressions_of(entry.address) == []
    assert await store.suppression_list.find("app", entry.address) is None
    assert await store.reader.suppression("shop", entry.address) is None


async def test_events_about_an_address_are_the_newest_in_order_and_none_of_a_message(store: SqliteStore) -> None:
    new = await accept(store, "a@example.net")
    told = Event(store.ids.next(), store.now(), EventType.DEFERRED, queue_id=new.message.id, recipient="a@example.net")
    (claimed,) = await store.claim(1)
    await store.settle(Settled(Settlement(claimed, State.DELIVERED, LATER, EventType.DELIVERED), (told,)))
    desk = store.desk(notes := Notes())
    entry = await put(store, "app", "a@example.net")
    for _ in range(2):
        await desk.remove_suppression("app", entry.address, "root", "no")
        await desk.add_suppression(entry, "root")
    assert await store.reader.events_about("a@EXAMPLE.NET", limit=3) == notes.events[1:]
    assert await store.reader.events_about("A@example.net") == []


async def test_known_standings_are_those_that_were_counted_and_those_that_were_written(store: SqliteStore) -> None:
    new = await accept(store, "a@example.net")
    event = Event(store.ids.next(), store.now(), EventType.DELIVERED, account="shop", stream="bulk")
    (claimed,) = await store.claim(1)
    await store.settle(Settled(Settlement(claimed, State.DELIVERED, LATER, EventType.DELIVERED), (event,)))
    whole = Standing(new.message.account, "", StandingState.SUSPENDED, "abuse", store.now(), by="root")
    await store.book.write(whole, None)
    assert await store.reader.known_standings() == [whole, Standing("shop", "bulk")]
    assert await store.reader.known_standings("shop") == [Standing("shop", "bulk")]
    moved = Standing("shop", "bulk", StandingState.WARNED, "6 %", store.now(), 2)
    await store.book.write(moved, None)
    assert await store.reader.known_standings() == [whole, moved]
    assert await store.reader.known_standings("nobody") == []


async def test_returns_are_listed_newest_first_by_kind_and_time(store: SqliteStore, clock: FakeClock) -> None:
    notes = []
    for kind, effect in (("bounce", "applied"), ("complaint", "rejected"), ("bounce", "noted")):
        notes.append(ReturnNote(store.ids.next(), store.now(), kind, effect=effect))
        await store.note(notes[-1])
        clock.advance(60)
    assert await store.reader.returns() == notes[::-1]
    assert await store.reader.returns("bounce") == [notes[2], notes[0]]
    assert await store.reader.returns(since=notes[1].at, limit=1) == [notes[2]]
    assert await store.reader.rejected_reports() == [notes[1]]
    assert await store.reader.rejected_reports(since=notes[2].at) == []


async def test_a_letter_is_kept_with_its_first_mebibyte_and_listed_without(store: SqliteStore) -> None:
    letter = ReturnNote(store.ids.next(), store.now(), "postmaster", text="Hello", effect="kept", octets=b"x" * 2**21)
    await store.note(letter)
    assert await store.reader.letter(letter.id) == replace(letter, octets=b"x" * 2**20)
    assert await store.reader.returns() == [replace(letter, octets=None)]
    assert await store.reader.letter("nothing") is None


async def test_a_filed_delivery_that_cannot_be_read_is_unavailable(path: str, store: SqliteStore) -> None:
    new = await accept(store, "a@example.net")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET body_type = 'ODD'")
    with pytest.raises(StoreUnavailable, match="unreadable: 'ODD'"):
        await store.file(new.deliveries[0].id)


async def test_a_reader_needs_no_server(path: str, clock: FakeClock) -> None:
    async with SqliteStore.open(path, clock, min_free=0.0, dice=random.Random(1)) as store:
        new = await accept(store, "a@example.net")
        async with Reader.open(path, clock) as beside:
            assert await beside.message(new.message.id) == new.message
    async with Reader.open(path, clock) as alone:
        assert await alone.message(new.message.id) == new.message
        assert await alone.message("nothing") is None


async def test_a_reader_changes_nothing(store: SqliteStore) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.reader._connection.execute_fetchall("DELETE FROM messages")


async def test_a_store_that_is_not_there_is_not_made(path: str, clock: FakeClock) -> None:
    with pytest.raises(StoreUnavailable, match="there is no store yet"):
        async with Reader.open(path, clock):
            pass
    with pytest.raises(FileNotFoundError):
        Path(path).stat()  # noqa: ASYNC240 - nothing else runs


@pytest.mark.parametrize(("version", "told"), [("0", "older version"), ("99", "newer version")])
async def test_a_store_of_another_version_is_not_read(path: str, clock: FakeClock, version: str, told: str) -> None:
    async with SqliteStore.open(path, clock, min_free=0.0, dice=random.Random(1)):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM schema_version")
        connection.execute("INSERT INTO schema_version (version, applied_at) VALUES (?, 0)", (version,))
    with pytest.raises(StoreUnavailable, match=told):
        async with Reader.open(path, clock):
            pass


async def test_a_reader_that_was_closed_says_so(path: str, store: SqliteStore, clock: FakeClock) -> None:
    async with Reader.open(path, clock) as reader:
        pass
    with pytest.raises(StoreUnavailable):
        await reader.totals()
