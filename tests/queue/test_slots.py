"""Places at sites: so many at once, first come first served, and nothing is remembered of a site that is done."""

import asyncio

from mta.queue.seams import Host, Site
from mta.queue.slots import Slots


def site(name: str) -> Site:
    return Site(name, (Host(name, 25),))


async def test_no_more_than_the_places_of_a_site_are_taken_at_once() -> None:
    slots, inside, most = Slots(2), 0, 0
    gate = asyncio.Event()

    async def attempt() -> None:
        nonlocal inside, most
        async with slots.of(site("mx.example.net")):
            inside += 1
            most = max(most, inside)
            await gate.wait()
            inside -= 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(attempt())
        await asyncio.sleep(0)
        gate.set()
    assert most == 2


async def test_a_full_site_does_not_hold_up_another() -> None:
    slots = Slots(1)
    async with slots.of(site("mx.example.net")), asyncio.timeout(30), slots.of(site("mx.example.org")):
        assert slots.sites == 2


async def test_a_site_is_forgotten_when_nobody_writes_to_it() -> None:
    slots = Slots(1)
    async with slots.of(site("mx.example.net")):
        pass
    assert slots.sites == 0


async def test_a_place_is_given_back_when_an_attempt_is_cancelled() -> None:
    slots = Slots(1)
    holds = asyncio.Event()

    async def attempt() -> None:
        async with slots.of(site("mx.example.net")):
            holds.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(attempt())
        await holds.wait()
        task.cancel()
    async with asyncio.timeout(30), slots.of(site("mx.example.net")):
        pass
    assert slots.sites == 0
