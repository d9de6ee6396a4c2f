"""Limits on disk: what they cost, that workers cannot overrun them together, and what is forgotten of them."""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mta.accounts.account import Rate
from mta.accounts.allowance import DuplicateKey, Terms
from mta.errors import FirstTimeUsedUp, OverRate, StoreUnavailable
from mta.queue.model import NewMessage
from mta.storage.allowance import LOOKED_AT
from mta.storage.sqlite import SqliteStore
from mta.storage.views import Retention
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters
from tests.storage.disk import ask, deliver_all, open_store

HOUR = timedelta(hours=1)
ALL = Terms(Rate(10, HOUR), first_time_per_day=10, duplicate=DuplicateKey(b"digest", HOUR))
ROWS = (
    "SELECT (SELECT count(*) FROM allowances), (SELECT count(*) FROM acquaintances), (SELECT count(*) FROM submissions)"
)


def letter(clock: FakeClock, terms: Terms | None, *recipients: str, worker: int = 9) -> NewMessage:
    return replace(Letters(clock, worker).new(recipients or ["a@example.net"]), terms=terms)


async def test_two_workers_with_two_hundred_messages_at_once_accept_exactly_what_the_rate_allows(
    path: str, clock: FakeClock
) -> None:
    terms = Terms(rate=Rate(100, HOUR))
    letters = Letters(clock)
    async with open_store(path, clock) as one, open_store(path, clock) as two:

        async def accept(store: SqliteStore) -> bool:
            try:
                await store.accept(replace(letters.new(), terms=terms), [])
            except OverRate:
                return False
            return True

        answers = await asyncio.gather(*(accept(store) for _ in range(100) for store in (one, two)))
    assert sum(answers) == 100
    assert ask(path, "SELECT count(*) FROM deliveries") == [(100,)]
    assert ask(path, "SELECT sum(count) FROM allowances") == [(100,)]


async def test_one_message_from_two_workers_at_once_is_queued_once(path: str, clock: FakeClock) -> None:
    letters = Letters(clock)
    terms = Terms(duplicate=DuplicateKey(b"digest", HOUR))
    async with open_store(path, clock) as one, open_store(path, clock) as two:
        accepted = await asyncio.gather(
            *(store.accept(replace(letters.new(), terms=terms), []) for _ in range(20) for store in (one, two))
        )
    assert len({each.queue_id for each in accepted}) == 1
    assert ask(path, "SELECT count(*) FROM deliveries") == [(1,)]


async def test_a_restart_forgets_nothing(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock) as store:
        first = await store.accept(letter(clock, ALL), [])
    async with open_store(path, clock) as store:
        assert (await store.accept(letter(clock, ALL, worker=8), [])).queue_id == first.queue_id
        assert await store.allowances.remaining("app", Rate(10, HOUR)) == 9
        nine = [f"u{number}@example.net" for number in range(10)]
        with pytest.raises(OverRate):
            await store.accept(letter(clock, replace(ALL, first_time_per_day=0), *nine, worker=7), [])
        with pytest.raises(FirstTimeUsedUp):
            await store.accept(letter(clock, replace(ALL, rate=None), *nine, worker=7), [])


async def statements_of(store: SqliteStore, act: Callable[[], object]) -> list[str]:
    """What the writer is asked while something is accepted."""
    told: list[str] = []
    await store._writer.run(lambda connection: connection.set_trace_callback(told.append))
    await act()  # type: ignore[misc] # an awaitable of any kind
    await store._writer.run(lambda connection: connection.set_trace_callback(None))
    return [one.split()[0] + " " + table for one in told for table in TABLES if f" {table}" in one]


TABLES = ("allowances", "acquaintances", "submissions")


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (None, []),
        (Terms(), []),
        (Terms(rate=Rate(10, HOUR)), ["SELECT allowances", "INSERT allowances"]),
        (Terms(duplicate=DuplicateKey(b"digest", HOUR)), ["SELECT submissions", "INSERT submissions"]),
        (
            Terms(first_time_per_day=1),
            ["WITH acquaintances", "SELECT allowances", "INSERT allowances", "INSERT acquaintances"],
        ),
    ],
)
async def test_only_who_has_a_limit_pays_for_it(
    store: SqliteStore, clock: FakeClock, terms: Terms | None, expected: list[str]
) -> None:
    new = letter(clock, terms)
    assert await statements_of(store, lambda: store.accept(new, [])) == expected


async def test_uses_are_kept_by_stretches_of_time_not_one_by_one(
    store: SqliteStore, path: str, clock: FakeClock
) -> None:
    letters = Letters(clock)
    for _ in range(300):
        await store.accept(replace(letters.new(), terms=Terms(rate=Rate(10_000, HOUR))), [])
        clock.advance(1)
    assert ask(path, "SELECT sum(count), count(*) <= 6 FROM allowances") == [(300, 1)]


async def test_uses_are_forgotten_when_no_window_reaches_them_and_those_to_come_are_not(
    path: str, clock: FakeClock
) -> None:
    async with open_store(path, clock, retention=Retention(events=timedelta(days=30))) as store:
        await store.accept(letter(clock, ALL), [])
        later = letter(clock, Terms(rate=Rate(10, HOUR)), worker=8)
        release = clock.now() + timedelta(days=10)
        await store.accept(replace(later, message=replace(later.message, release_at=release)), [])
        clock.advance(HOUR - timedelta(seconds=1))
        assert not await store.purge()
        assert ask(path, ROWS) == [(3, 1, 1)]
        clock.advance(timedelta(minutes=2))
        await store.purge()
        assert ask(path, ROWS) == [(2, 1, 0)]
        clock.advance(timedelta(hours=25))
        await store.purge()
        assert ask(path, ROWS) == [(1, 1, 0)]
        clock.advance(timedelta(days=30))
        await store.purge()
        assert ask(path, ROWS) == [(0, 0, 0)]


async def test_who_was_first_written_to_long_ago_is_known_by_what_was_written_since(
    path: str, clock: FakeClock
) -> None:
    one = Terms(first_time_per_day=1)
    async with open_store(path, clock, retention=Retention(events=timedelta(days=30))) as store:
        for worker in range(1, 8):
            await store.accept(letter(clock, one, "a@example.net", worker=worker), [])
            await deliver_all(store)
            await store.purge()
            clock.advance(timedelta(days=20))
        assert ask(path, "SELECT count(*) FROM acquaintances") == [(0,)]
        # the one new recipient of the day is free yet
        await store.accept(letter(clock, one, "a@example.net", "b@example.net", worker=8), [])


async def test_a_day_of_new_recipients_is_counted_however_soon_all_else_is_forgotten(
    path: str, clock: FakeClock
) -> None:
    one = Terms(first_time_per_day=1)
    async with open_store(path, clock, retention=Retention(events=timedelta(minutes=1))) as store:
        await store.accept(letter(clock, one, "a@example.net"), [])
        await deliver_all(store)
        clock.advance(timedelta(hours=23))
        await store.purge()
        await store.accept(letter(clock, one, "a@example.net", worker=8), [])
        with pytest.raises(FirstTimeUsedUp):
            await store.accept(letter(clock, one, "b@example.net", worker=8), [])


async def test_an_address_that_everybody_writes_to_costs_no_more_than_another(
    store: SqliteStore, path: str, clock: FakeClock
) -> None:
    await store.accept(letter(clock, None, "busy@example.net"), [])
    ask(
        path,
        """
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 50000)
        INSERT INTO deliveries (id, queue_id, account, stream, accepted_at, recipient, domain, notify, state, due_at,
            attempts, held_for, delay_noticed)
        SELECT printf('z%015d', n), queue_id, 'shop', stream, accepted_at, recipient, domain, '', 'delivered', due_at,
               0, 0, 0
        FROM number, deliveries
        """,
    )
    steps: list[int] = []
    await store._writer.run(lambda connection: connection.set_progress_handler(lambda: steps.append(1), 100))
    # its own delivery is not among the newest: rather counted than searched for
    with pytest.raises(FirstTimeUsedUp):
        await store.accept(
            letter(clock, Terms(first_time_per_day=1), "busy@example.net", "b@example.net", worker=8), []
        )
    # a step is a hundred instructions; a walk over all would be a thousand times as many
    assert len(steps) < LOOKED_AT


async def test_a_recipient_with_any_letter_in_it_becomes_known(store: SqliteStore, clock: FakeClock) -> None:
    new = letter(clock, Terms(first_time_per_day=1))
    odd = replace(new.deliveries[0].recipient.mailbox, local_part='"Ä\\"b @\\\\"')
    one = replace(new.deliveries[0], recipient=replace(new.deliveries[0].recipient, mailbox=odd))
    await store.accept(replace(new, deliveries=(one,)), [])
    ask(store._writer._path, "DELETE FROM deliveries")
    again = letter(clock, Terms(first_time_per_day=1), worker=8)
    await store.accept(replace(again, deliveries=(replace(one, id="1", message_id=again.message.id),)), [])
    with pytest.raises(FirstTimeUsedUp):
        await store.accept(letter(clock, Terms(first_time_per_day=1), worker=7), [])


async def test_what_fails_otherwise_uses_nothing(store: SqliteStore, path: str, clock: FakeClock) -> None:
    new = letter(clock, ALL)
    await store.accept(replace(new, terms=None), [])
    with pytest.raises(StoreUnavailable):
        await store.accept(new, [])
    assert ask(path, ROWS) == [(0, 0, 0)]


async def test_the_book_asks_the_store_once_a_second(store: SqliteStore, path: str, clock: FakeClock) -> None:
    rate = Rate(10, HOUR)
    await store.accept(letter(clock, Terms(rate=rate)), [])
    assert await store.allowances.remaining("app", rate) == 9
    # somebody else's, of whom nothing was heard
    ask(path, "UPDATE allowances SET count = 5")
    clock.advance(0.9)
    assert await store.allowances.remaining("app", rate) == 9
    clock.advance(0.2)
    assert await store.allowances.remaining("app", rate) == 5


async def test_the_book_looks_again_after_a_refusal(store: SqliteStore, path: str, clock: FakeClock) -> None:
    rate = Rate(10, HOUR)
    await store.accept(letter(clock, Terms(rate=rate)), [])
    assert await store.allowances.remaining("app", rate) == 9
    ask(path, "UPDATE allowances SET count = 10")
    with pytest.raises(OverRate):
        await store.accept(letter(clock, Terms(rate=rate), worker=8), [])
    assert await store.allowances.remaining("app", rate) == 0


async def test_many_who_ask_the_book_at_once_read_once(store: SqliteStore, clock: FakeClock) -> None:
    rate = Rate(10, HOUR)
    answers = await asyncio.gather(*(store.allowances.remaining("app", rate) for _ in range(50)))
    assert (set(answers), store.allowances.reads("app")) == ({10}, 1)


async def test_a_commit_that_may_be_in_what_was_read_is_not_counted_twice(store: SqliteStore, clock: FakeClock) -> None:
    rate, book = Rate(10, HOUR), store.allowances
    before = book.reads("app")
    assert await book.remaining("app", rate) == 10
    book.accepted(letter(clock, Terms(rate=rate)), 1, before)
    assert await book.remaining("app", rate) == 10
    book.accepted(letter(clock, Terms(rate=rate)), 1, book.reads("app"))
    assert await book.remaining("app", rate) == 9


async def test_mail_that_waits_takes_no_room_in_the_book_now(store: SqliteStore, clock: FakeClock) -> None:
    rate = Rate(10, HOUR)
    assert await store.allowances.remaining("app", rate) == 10
    new = letter(clock, Terms(rate=rate))
    release = clock.now() + timedelta(hours=3)
    await store.accept(replace(new, message=replace(new.message, release_at=release)), [])
    assert await store.allowances.remaining("app", rate) == 10


async def test_a_book_that_cannot_be_read_says_so(path: str, clock: FakeClock) -> None:
    async with open_store(path, clock) as store:
        await store._writer.run(_drop)
        with pytest.raises(StoreUnavailable):
            await store.allowances.remaining("app", Rate(10, HOUR))


def _drop(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TABLE allowances")
