"""Places at sites: so many at once, in fair order, and nothing is remembered of a site that is done."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from mta.queue.lanes import Lane
from mta.queue.model import Stream
from mta.queue.pace import Pace
from mta.queue.places import Places

APP = Lane(Stream.TRANSACTIONAL, "app")
BULK = Lane(Stream.BULK, "app")
SHOP_BULK = Lane(Stream.BULK, "shop")


class Crowd:
    """Attempts that go on until they are told to end."""

    def __init__(self, places: Places, tasks: asyncio.TaskGroup) -> None:
        self._places = places
        self._tasks = tasks
        self.inside: list[str] = []
        self.served: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def join(self, name: str, site: str, lane: Lane) -> asyncio.Task[None]:
        self._ends[name] = asyncio.Event()
        task = self._tasks.create_task(self._attempt(name, site, lane))
        await settle()
        return task

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def end_all(self) -> None:
        while self.inside:
            await self.end(self.inside[0])

    async def _attempt(self, name: str, site: str, lane: Lane) -> None:
        async with self._places.at(site, lane):
            self.inside.append(name)
            self.served.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.inside.remove(name)


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def crowd(pace: Pace) -> AsyncIterator[tuple[Crowd, Places]]:
    places = Places(pace)
    async with asyncio.TaskGroup() as tasks:
        people = Crowd(places, tasks)
        yield people, places
        await people.end_all()
    assert (places.sites, places.used) == (0, 0)


async def join_all(people: Crowd, names: Sequence[str], site: str, lane: Lane) -> None:
    for name in names:
        await people.join(name, site, lane)


async def test_no_more_than_the_places_of_a_site_are_taken_at_once_and_another_is_not_held_up() -> None:
    async with crowd(Pace(per_site=2)) as (people, _):
        await join_all(people, ["a", "b", "c"], "mx1", APP)
        await people.join("d", "mx2", APP)
        assert people.inside == ["a", "b", "d"]
        await people.end("a")
        assert people.inside == ["b", "d", "c"]


async def test_a_site_begins_with_few_places_and_gets_more_as_it_answers() -> None:
    async with crowd(Pace(per_site=4, first_places=1)) as (people, places):
        await join_all(people, ["a", "b", "c", "d", "e", "f"], "mx", APP)
        assert people.inside == ["a"]
        places.answered("mx")
        assert people.inside == ["a"]
        await settle()
        assert people.inside == ["a", "b"]
        for _ in range(10):
            places.answered("mx")
        await settle()
        assert people.inside == ["a", "b", "c", "d"]
        places.troubled("mx")
        for name in "abc":
            await people.end(name)
        assert people.inside == ["d", "e"]


async def test_what_a_site_bears_is_remembered_while_nobody_writes_there() -> None:
    async with crowd(Pace(per_site=4, first_places=1)) as (people, places):
        places.answered("mx")
        await join_all(people, ["a", "b", "c"], "mx", APP)
        assert people.inside == ["a", "b"]


async def test_a_reset_goes_before_bulk_that_came_long_before() -> None:
    async with crowd(Pace(per_site=1)) as (people, _):
        await join_all(people, [f"b{number}" for number in range(5)], "mx", BULK)
        await people.join("shop", "mx", SHOP_BULK)
        await people.join("reset", "mx", APP)
        await people.end_all()
        assert people.served == ["b0", "reset", "b1", "shop", "b2", "b3", "b4"]


async def test_places_in_all_are_given_to_sites_in_turn() -> None:
    async with crowd(Pace(per_site=5, at_once=2)) as (people, _):
        await join_all(people, ["a1", "a2", "a3", "a4"], "mx1", APP)
        await join_all(people, ["b1", "b2"], "mx2", APP)
        assert people.inside == ["a1", "a2"]
        await people.end_all()
        assert sorted(people.served[:4]) == ["a1", "a2", "a3", "b1"]


async def test_bulk_leaves_a_part_of_all_places_to_what_hurries() -> None:
    async with crowd(Pace(per_site=5, at_once=4)) as (people, _):
        await join_all(people, ["b1", "b2", "b3", "b4"], "mx1", BULK)
        assert people.inside == ["b1", "b2", "b3"]
        await people.join("reset", "mx2", APP)
        assert people.inside == ["b1", "b2", "b3", "reset"]
        await people.end("b2")
        assert people.inside == ["b1", "b3", "reset", "b4"]


async def test_a_site_that_many_wait_for_is_full_and_admits_the_other_stream() -> None:
    async with crowd(Pace(per_site=2)) as (people, places):
        assert not places.is_full("mx")
        assert places.free("mx", BULK) == 6
        await join_all(people, ["b1", "b2", "b3"], "mx", BULK)
        assert not places.is_full("mx")
        await people.join("b4", "mx", BULK)
        assert places.is_full("mx")
        assert places.full() == ["mx"]
        assert places.free("mx", BULK) == 2
        await join_all(people, ["b5", "b6"], "mx", BULK)
        assert (places.free("mx", BULK), places.free("mx", APP)) == (0, 4)


async def test_who_is_cancelled_while_waiting_is_forgotten_and_who_is_cancelled_inside_gives_back() -> None:
    async with crowd(Pace(per_site=1)) as (people, _):
        inside = await people.join("a", "mx", APP)
        waiting = await people.join("b", "mx", APP)
        await people.join("c", "mx", APP)
        waiting.cancel()
        await settle()
        inside.cancel()
        await settle()
        assert people.inside == ["c"]


async def test_a_place_is_not_lost_when_its_taker_is_called_and_cancelled_at_once() -> None:
    async with crowd(Pace(per_site=1)) as (people, _):
        inside = await people.join("a", "mx", APP)
        waiting = await people.join("b", "mx", APP)
        await people.join("c", "mx", APP)
        inside.cancel()
        # the place is handed over in a turn of the loop in which the next one is cancelled, too
        await asyncio.sleep(0)
        waiting.cancel()
        await settle()
        assert people.inside == ["c"]
