"""Policies of MTA-STS and counts for reports about TLS, as the store keeps them."""

from datetime import date, timedelta

from mta.storage.sqlite import SqliteStore
from mta.storage.tls import Counted
from tests.fakes.clock import START, FakeClock
from tests.storage.disk import ask, open_store

DAY = timedelta(days=1)
TODAY = START.date()


def _plus(one: str, other: str) -> str:
    return f"{one}+{other}"


async def test_a_policy_takes_the_place_of_the_last_one_of_its_domain(store: SqliteStore) -> None:
    await store.tls.put_policy("example.net", "first", START + DAY)
    await store.tls.put_policy("example.net", "second", START + DAY)
    await store.tls.put_policy("example.org", "another", START + DAY)
    assert await store.tls.policy("example.net") == "second"
    assert await store.tls.policies() == ["second", "another"]
    assert await store.tls.policy("example.com") is None


async def test_a_policy_is_worth_nothing_once_its_time_is_over_and_forgotten_with_the_next(
    store: SqliteStore, clock: FakeClock, path: str
) -> None:
    await store.tls.put_policy("example.net", "short", START + DAY)
    clock.advance(DAY - timedelta(milliseconds=1))
    assert await store.tls.policy("example.net") == "short"
    clock.advance(timedelta(milliseconds=1))
    assert await store.tls.policy("example.net") is None
    assert await store.tls.policies() == []
    await store.tls.put_policy("example.org", "new", START + 9 * DAY)
    assert ask(path, "SELECT domain FROM sts_policies") == [("example.org",)]


async def test_what_all_workers_counted_is_added_up(store: SqliteStore, clock: FakeClock, path: str) -> None:
    await store.tls.add([Counted(TODAY, "example.net", "1"), Counted(TODAY, "example.org", "5")], _plus)
    async with open_store(path, clock) as other:
        await other.tls.add([Counted(TODAY, "example.net", "2"), Counted(TODAY + DAY, "example.net", "3")], _plus)
    assert await store.tls.before(TODAY + DAY) == ["1+2", "5"]
    assert await store.tls.before(date.max) == ["1+2", "5", "3"]


async def test_what_is_of_today_is_no_earlier_day_and_what_was_told_is_forgotten(store: SqliteStore) -> None:
    await store.tls.add([Counted(TODAY, "example.net", "1"), Counted(TODAY, "example.org", "2")], _plus)
    assert await store.tls.before(TODAY) == []
    await store.tls.remove(TODAY, "example.net")
    assert await store.tls.before(TODAY + DAY) == ["2"]
