"""Delivery's policies and counts, there and back through a store."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from mta.delivery.mta_sts import KeptPolicy, Mode, Policy
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_report import AppliedPolicy, DomainDay, FailureDetails, PolicyTally, PolicyType
from mta.storage.sqlite import SqliteStore
from mta.tls_books import Days, Policies
from tests.fakes.clock import START, FakeClock
from tests.storage.disk import open_store

DAY = timedelta(days=1)
NONE = AppliedPolicy(PolicyType.NONE, "example.net")
STS = AppliedPolicy(PolicyType.STS, "example.net", ("mode: enforce",), ("mx.example.net",))
EXPIRED = FailureDetails(TlsFailure.CERTIFICATE_EXPIRED, "", "mx.example.net", "192.0.2.1")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    async with open_store(str(tmp_path / "queue.db"), clock) as store:
        yield store


async def test_a_policy_comes_back_as_it_was_until_it_expires(store: SqliteStore, clock: FakeClock) -> None:
    policies = Policies(store.tls)
    kept = KeptPolicy("example.net", "1", Policy(Mode.ENFORCE, ("*.example.net",), 2 * DAY), START, START + DAY)
    await policies.put(kept)
    assert await policies.get("example.net") == kept
    assert await policies.all() == (kept,)
    assert await policies.get("example.org") is None
    clock.advance(2 * DAY)
    assert await policies.all() == ()


async def test_counts_of_a_day_and_domain_are_added_up(store: SqliteStore) -> None:
    days = Days(store.tls)
    today = START.date()
    await days.add((DomainDay(today, "example.net", (PolicyTally(NONE, 2), PolicyTally(STS, 0, 1, ((EXPIRED, 1),)))),))
    await days.add((DomainDay(today, "example.net", (PolicyTally(STS, 3, 2, ((EXPIRED, 2),)),)),))
    assert await days.before(today) == ()
    assert await days.before(date.max) == (
        DomainDay(today, "example.net", (PolicyTally(NONE, 2), PolicyTally(STS, 3, 3, ((EXPIRED, 3),)))),
    )
    await days.remove(today, "example.net")
    assert await days.before(date.max) == ()
