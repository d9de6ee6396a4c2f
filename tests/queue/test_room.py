"""Room for large messages: bounded, in order of arrival, and given back whatever happens."""

import asyncio
import random

import pytest
from hypothesis import given, settings, strategies

from mta.queue.room import SMALL, Room

K = SMALL + 1


class Guests:
    """Tasks that have room until they are let go."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.inside: list[str] = []
        self._doors: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, octets: int) -> None:
        self._doors[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._stay(name, octets))
        await settle()

    async def _stay(self, name: str, octets: int) -> None:
        async with self.room.for_message(octets):
            self.inside.append(name)
            try:
                await self._doors[name].wait()
            finally:
                self.inside.remove(name)

    async def go(self, name: str) -> None:
        self._doors[name].set()
        await settle()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await settle()


async def settle() -> None:
    """Let the loop turn until nothing is left to do."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_small_messages_have_no_part_in_it() -> None:
    guests = Guests(Room(2 * K))
    await guests.come("large", 2 * K)
    await guests.come("waits", K)
    await guests.come("small", SMALL)
    assert (guests.inside, guests.room.used, guests.room.waiting) == (["large", "small"], 2 * K, 1)
    await guests.cancel("large", "waits", "small")
    assert guests.room.used == 0


async def test_a_large_one_that_waits_is_not_overtaken() -> None:
    guests = Guests(Room(3 * K))
    await guests.come("first", 2 * K)
    await guests.come("larger", 3 * K)
    await guests.come("fits", K)
    assert guests.inside == ["first"]
    await guests.go("first")
    assert guests.inside == ["larger"]
    await guests.go("larger")
    assert guests.inside == ["fits"]
    await guests.go("fits")
    assert (guests.room.used, guests.room.waiting) == (0, 0)


async def test_one_that_is_larger_than_all_the_room_has_it_to_itself() -> None:
    guests = Guests(Room(2 * K))
    await guests.come("first", K)
    await guests.come("giant", 50 * K)
    await guests.come("last", K)
    assert guests.inside == ["first"]
    await guests.go("first")
    assert guests.inside == ["giant"]
    await guests.go("giant")
    assert guests.inside == ["last"]
    await guests.go("last")


@pytest.mark.parametrize("gone", [["giant"], ["giant", "next"], ["next", "giant"]])
async def test_who_waits_and_is_cancelled_stands_in_nobodys_way(gone: list[str]) -> None:
    guests = Guests(Room(2 * K))
    await guests.come("first", K)
    await guests.come("giant", 2 * K)
    await guests.come("next", 2 * K if "next" in gone else K)
    await guests.come("last", K)
    await guests.cancel(*gone)
    expected = ["first", "last"] if "next" in gone else ["first", "next"]
    assert guests.inside == expected
    for name in expected:
        await guests.go(name)
    await guests.cancel("last")
    assert (guests.room.used, guests.room.waiting) == (0, 0)


async def test_room_that_comes_to_one_who_is_cancelled_at_that_moment_is_given_back() -> None:
    guests = Guests(Room(K))
    await guests.come("first", K)
    await guests.come("second", K)
    await guests.come("third", K)
    guests._doors["first"].set()
    await asyncio.sleep(0)
    # the second has been called, and does not run yet
    assert (guests.inside, guests.room.used, guests.room.waiting) == ([], K, 1)
    await guests.cancel("second")
    assert guests.inside == ["third"]
    await guests.go("third")
    assert guests.room.used == 0


@settings(deadline=None, max_examples=50)
@given(strategies.integers(0, 2**32), strategies.integers(K, 6 * K))
def test_never_more_is_taken_than_there_is_and_all_come_in(seed: int, octets: int) -> None:
    async def main() -> None:
        dice, room, done = random.Random(seed), Room(octets), []

        async def attempt(number: int) -> None:
            async with room.for_message(dice.randint(1, 3 * K)):
                assert 0 <= room.used <= octets
                for _ in range(dice.randint(0, 5)):
                    await asyncio.sleep(0)
            done.append(number)

        tasks = [asyncio.create_task(attempt(number)) for number in range(30)]
        for task in dice.sample(tasks, 8):
            for _ in range(dice.randint(0, 4)):
                await asyncio.sleep(0)
            task.cancel()
        async with asyncio.timeout(30):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [each for each in results if each is not None and not isinstance(each, asyncio.CancelledError)]
        assert (room.used, room.waiting) == (0, 0)

    asyncio.run(main())
