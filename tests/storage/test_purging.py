"""How long things are kept: octets, rows of what is final, what came back, and what is never forgotten."""

import asyncio
import random
from datetime import timedelta

import pytest

from mta.accounts.standing import Standing
from mta.errors import Damaged
from mta.events import Event, EventType
from mta.mail.address import Mailbox
from mta.queue.model import NewMessage, State
from mta.queue.returned import Complaint, ReturnNote
from mta.reputation.suppression import Cause, Origin, Suppression
from mta.storage.returned import MOST_LETTERS, MOST_REJECTED
from mta.storage.rows import to_ms
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Retention, Selector
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask, deliver_all, open_store
from tests.storage.rig import settled


async def test_octets_are_kept_after_the_end_as_long_as_wanted_and_purged_then(path: str, clock: FakeClock) -> None:
    kept = Retention(body=timedelta(hours=1), events=timedelta(days=1))
    async with open_store(path, clock, retention=kept) as store:
        new = Letters(clock).new()
        await store.accept(new, [])
        await deliver_all(store)
        clock.advance(3599)
        assert not await store.purge()
        assert await store.content(new.message.id) == new.content
        clock.advance(1)
        await store.purge()
        with pytest.raises(Damaged):
            await store.content(new.message.id)
        assert await store.reader.message(new.message.id) == new.message


async def test_what_was_final_long_ago_is_forgotten_and_what_waits_is_not(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock, retention=Retention(events=timedelta(days=90))) as store:
        old, waiting = Letters(clock).new(), Letters(clock, worker=8).new()
        await store.accept(old, [])
        await deliver_all(store)
        await store.accept(waiting, [])
        clock.advance(timedelta(days=91))
        await store.purge()
        assert await store.reader.message(old.message.id) is None
        assert await store.reader.events() == []
        assert await store.content(waiting.message.id) == waiting.content
        assert ask(path, "SELECT queue_id FROM deliveries") == [(waiting.message.id,)]


async def suppress(store: SqliteStore, clock: FakeClock) -> None:
    """Put an address on the list by a report, with all that is written of it."""
    new = Letters(clock).new()
    await store.accept(new, [])
    await deliver_all(store)
    address, delivery_id = new.deliveries[0].recipient.mailbox, new.deliveries[0].id
    entry = Suppression("app", address, Cause.COMPLAINT, Origin.FEEDBACK, clock.now(), delivery_id=delivery_id)
    event = Event(store.ids.next(), clock.now(), EventType.COMPLAINED, account="app", stream="transactional")
    on_list = Event(store.ids.next(), clock.now(), EventType.SUPPRESSION_ADDED, account="app")
    assert await store.complain(Complaint(delivery_id, event, entry, on_list)) == (event, on_list)
    await store.note(ReturnNote(store.ids.next(), clock.now(), "complaint", delivery_id))
    await store.book.write(Standing("app", "transactional", by="root"), None)


async def test_what_came_back_is_forgotten_with_the_events_but_who_is_on_the_list_never(
    path: str, clock: FakeClock
) -> None:
    async with open_store(path, clock, retention=Retention(events=timedelta(days=10))) as store:
        await suppress(store, clock)
        clock.advance(timedelta(days=9))
        await store.purge()
        assert len(await store.reader.returns()) == 1
        clock.advance(timedelta(days=2))
        await store.purge()
        assert ask(path, "SELECT (SELECT count(*) FROM returns), (SELECT count(*) FROM tallies)") == [(0, 1)]
        clock.advance(timedelta(days=4000))
        await store.purge()
        assert await store.suppression_list.find("app", Mailbox.parse("a@example.net")) is not None
        assert len(await store.reader.standings()) == 1
        left = "SELECT (SELECT count(*) FROM tallies), (SELECT count(*) FROM complaints)"
        assert ask(path, left) == [(0, 0)]


async def test_a_complaint_is_known_again_when_all_else_about_it_is_forgotten(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock, retention=Retention(events=timedelta(days=10))) as store:
        await suppress(store, clock)
        ((delivery_id,),) = ask(path, "SELECT delivery_id FROM complaints")
        clock.advance(timedelta(days=300))
        await store.purge()
        assert await store.file(str(delivery_id)) is None
        entry = Suppression("app", Mailbox("a", "example.net"), Cause.COMPLAINT, Origin.FEEDBACK, clock.now())
        event = Event(store.ids.next(), clock.now(), EventType.COMPLAINED, account="app", stream="transactional")
        assert await store.complain(Complaint(str(delivery_id), event, entry, event)) is None


async def test_old_suspicions_are_forgotten(store: SqliteStore, path: str, clock: FakeClock) -> None:
    ask(path, "INSERT INTO suspects VALUES ('app', 'a@example.net', 0)")
    ask(path, "INSERT INTO suspects VALUES ('app', 'b@example.net', ?)", to_ms(clock.now()))
    await store.purge()
    assert ask(path, "SELECT address FROM suspects") == [("b@example.net",)]


@pytest.mark.parametrize(
    ("most", "effect", "octets"), [(MOST_REJECTED, "rejected", None), (MOST_LETTERS, "kept", b"Hello")]
)
async def test_of_what_anybody_may_send_only_so_much_is_kept(
    store: SqliteStore, path: str, clock: FakeClock, most: int, effect: str, octets: bytes | None
) -> None:
    ask(
        path,
        """
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
        INSERT INTO returns (id, at, kind, text, effect, octets) SELECT printf('z%d', n), ? + n, 'other', '', ?, ?
        FROM number
        """,
        most + 150,
        to_ms(clock.now()),
        effect,
        octets,
    )
    ask(path, "INSERT INTO returns (id, at, kind, text, effect) VALUES ('a', 2000000000000, 'bounce', '', 'applied')")
    while await store.purge():
        pass
    assert ask(path, "SELECT count(*), min(at) - ? FROM returns WHERE id <> 'a'", to_ms(clock.now())) == [(most, 151)]
    assert len(await store.reader.returns("bounce")) == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("body", [timedelta(0), timedelta(days=1), timedelta(days=60)])
async def test_whatever_has_happened_the_purge_touches_nothing_that_is_not_final(
    path: str, clock: FakeClock, seed: int, body: timedelta
) -> None:
    dice, letters = random.Random(seed), Letters(clock)
    accepted: dict[str, NewMessage] = {}
    async with open_store(path, clock, retention=Retention(body=body, events=timedelta(days=30))) as store:
        for _ in range(40):
            new = letters.new([f"u{number}@example.net" for number in range(dice.randrange(1, 4))])
            accepted[new.message.id] = new
            await store.accept(new, [], lease=dice.randrange(3))
            for one in await store.claim(dice.randrange(5)):
                state = dice.choice((State.DELIVERED, State.BOUNCED, State.QUEUED, State.HELD, State.CANCELLED))
                await store.settle(settled(one, state, retry_in=timedelta(days=dice.randrange(90))))
            clock.advance(timedelta(days=dice.randrange(3)))
            while await store.purge():
                pass
        clock.advance(timedelta(days=400))
        while await store.purge():
            pass
        waiting = await store.reader.select(Selector(), 1000)
        assert waiting
        for row in waiting:
            assert await store.content(row.queue_id) == accepted[row.queue_id].content
        # and of the rest nothing is left
        kept = {row.queue_id for row in waiting}
        assert {row[0] for row in ask(path, "SELECT id FROM messages")} == kept
        assert ask(path, "SELECT count(*) FROM contents") == [(len(kept),)]
        counted = ask(path, "SELECT state, count FROM open_counts WHERE count > 0 ORDER BY state")
        assert counted == ask(
            path,
            "SELECT state, count(*) FROM deliveries WHERE state IN ('queued', 'active', 'held') "
            "GROUP BY state ORDER BY state",
        )


async def test_purging_gives_space_back(path: str, clock: FakeClock) -> None:
    letters = Letters(clock)
    async with open_store(path, clock) as store:
        await asyncio.gather(*(store.accept(letters.new(body=b"x" * 200_000), []) for _ in range(60)))
        await deliver_all(store)
        ((before,),) = ask(path, "PRAGMA page_count")
        for _ in range(100):
            if not await store.purge():
                break
        ((after,),) = ask(path, "PRAGMA page_count")
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after < before / 2
