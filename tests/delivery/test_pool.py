"""Idle connections and the count of all."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from mta.delivery.limits import PoolLimits
from mta.delivery.pool import Pool
from mta.queue.seams import Host
from tests.fakes.clock import FakeClock

MX1, MX2 = Host("mx1.example.net", 25), Host("mx2.example.net", 25)


@dataclass(eq=False)
class _Connection:
    host: Host = MX1
    used: int = 1
    fit: bool = True
    ended: list[str] = field(default_factory=list)

    def farewell(self) -> None:
        self.ended.append("farewell")

    async def leave(self, limit: timedelta) -> None:
        self.ended.append("leave")

    def drop(self) -> None:
        self.ended.append("drop")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _pool(clock: FakeClock, places: int = 2) -> Pool[_Connection]:
    return Pool(PoolLimits(max_connections=places, messages_per_connection=3, idle=timedelta(seconds=5)), clock)


async def _lent(pool: Pool[_Connection], connection: _Connection) -> _Connection:
    await pool.reserve()
    return connection


async def test_the_freshest_connection_to_the_very_host_is_lent(clock: FakeClock) -> None:
    pool = _pool(clock, 3)
    old, fresh, other = _Connection(), _Connection(), _Connection(MX2)
    for one in (old, other, fresh):
        pool.give_back(await _lent(pool, one))
    assert [pool.take(MX1), pool.take(MX1), pool.take(MX1)] == [fresh, old, None]
    assert pool.idle == 1


@pytest.mark.parametrize("unlike", [Host("mx1.example.net", 26), Host("mx1.example.net", 25, require_tls=True)])
async def test_a_host_under_other_demands_is_another_host(unlike: Host, clock: FakeClock) -> None:
    pool = _pool(clock)
    pool.give_back(await _lent(pool, _Connection()))
    assert pool.take(unlike) is None


@pytest.mark.parametrize("spent", [_Connection(used=3), _Connection(fit=False)])
async def test_a_spent_or_broken_connection_ends(spent: _Connection, clock: FakeClock) -> None:
    pool = _pool(clock)
    pool.give_back(await _lent(pool, spent))
    assert (spent.ended, pool.idle) == (["farewell"], 0)


async def test_what_broke_while_idle_is_not_lent(clock: FakeClock) -> None:
    pool = _pool(clock)
    one = _Connection()
    pool.give_back(await _lent(pool, one))
    one.fit = False
    assert pool.take(MX1) is None
    assert one.ended == ["farewell"]


async def test_idle_connections_end_after_their_time(clock: FakeClock) -> None:
    pool = _pool(clock)
    old, fresh = _Connection(), _Connection()
    pool.give_back(await _lent(pool, old))
    clock.advance(3)
    pool.give_back(await _lent(pool, fresh))
    clock.advance(3)
    pool.expire()
    assert (old.ended, fresh.ended, pool.idle) == (["farewell"], [], 1)


async def test_an_idle_connection_makes_way_for_a_new_one(clock: FakeClock) -> None:
    pool = _pool(clock, 2)
    oldest, newer = _Connection(), _Connection(MX2)
    pool.give_back(await _lent(pool, oldest))
    clock.advance(1)
    pool.give_back(await _lent(pool, newer))
    async with asyncio.timeout(30):
        await pool.reserve()
    assert (oldest.ended, newer.ended) == (["farewell"], [])


async def test_a_place_that_comes_free_goes_to_who_waits(clock: FakeClock) -> None:
    pool = _pool(clock, 1)
    busy = await _lent(pool, _Connection())
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pool.reserve())
        await asyncio.sleep(0)
        assert not waiting.done()
        pool.give_back(busy)
    assert busy.ended == ["farewell"]


async def test_every_ended_connection_frees_its_place(clock: FakeClock) -> None:
    pool = _pool(clock, 1)
    for connection in (_Connection(used=3), _Connection(fit=False), _Connection()):
        async with asyncio.timeout(30):
            pool.give_back(await _lent(pool, connection))
    assert (pool.open, pool.idle) == (1, 1)
    clock.advance(6)
    pool.expire()
    assert pool.open == 0
    async with asyncio.timeout(30):
        await pool.reserve()
        pool.release()
        await pool.reserve()
    assert pool.open == 1


async def test_closing_takes_leave_of_the_idle_and_keeps_none_any_more(clock: FakeClock) -> None:
    pool = _pool(clock)
    idle, busy = _Connection(), _Connection()
    pool.give_back(await _lent(pool, idle))
    await pool.reserve()
    await pool.close(timedelta(seconds=1))
    pool.give_back(busy)
    assert pool.open == 0
    assert (idle.ended, busy.ended, pool.idle) == (["leave"], ["farewell"], 0)
