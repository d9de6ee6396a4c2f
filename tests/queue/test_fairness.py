"""Nobody starves: what hurries is attempted soon, whatever else waits, and no lane or site fills the window."""

import asyncio

import pytest

from mta.queue.model import State, Stream
from mta.queue.pace import Pace
from tests.fakes.house import House

BACKLOG = 1500


async def backlog(house: House, domain: str) -> list[str]:
    """Queue a long list of one account."""
    ids: list[str] = []
    for start in range(0, BACKLOG, 500):
        names = (f"u{number}@{domain}" for number in range(start, start + 500))
        ids += await house.submit(*names, account="list", stream=Stream.BULK)
    return ids


@pytest.mark.parametrize("account", ["app", "list"])
@pytest.mark.parametrize("leased", [True, False])
async def test_a_reset_is_attempted_within_fifty_attempts_while_a_long_list_goes_to_the_same_site(
    account: str, leased: bool
) -> None:
    house = House()
    house.transport.turns = asyncio.Semaphore(0)
    async with house.running():
        await backlog(house, "example.net")
        await house.attempts(lambda: len(house.transport.begun) > 200)
        for number in range(3):
            name, before = f"reset{number}@example.net", len(house.transport.begun)
            await house.submit(name, account=account, lease=leased)
            await house.attempts(lambda: name in house.transport.begun)  # noqa: B023  called at once
            assert house.transport.begun.index(name) - before <= 50
        assert len(house.transport.begun) < BACKLOG


async def test_a_reset_to_a_site_that_is_full_of_bulk_is_next() -> None:
    house = House(pace=Pace(per_site=2, first_places=2))
    gate = house.transport.gates["mx.example.net"] = asyncio.Event()
    async with house.running():
        await house.submit(*(f"u{number}@example.net" for number in range(50)), account="list", stream=Stream.BULK)
        await house.until(lambda: house.transport.waiting == 2)
        await house.submit("reset@example.net", lease=True)
        gate.set()
        await house.until(lambda: "reset@example.net" in house.transport.begun)
    assert house.transport.begun.index("reset@example.net") <= 3


async def test_half_of_the_sites_hang_and_the_others_do_not_notice() -> None:
    house = House()
    for number in range(0, 60, 2):
        house.transport.gates[f"mx.d{number}.example"] = asyncio.Event()
    async with house.running():
        for number in range(60):
            names = (f"u{each}@d{number}.example" for each in range(20))
            await house.submit(*names, account="list", stream=Stream.BULK)
        await house.until(lambda: house.transport.waiting >= 30 * 5)
        ids = [(await house.submit(f"reset@d{number}.example", lease=True))[0] for number in range(1, 60, 2)]
        await house.states(ids, *[State.DELIVERED] * 30)
        await house.until(lambda: sum("u" in each for each in house.transport.recipients) >= 30 * 20)
        # what hangs keeps the places it began with, and twice as many that wait
        await house.until(lambda: house.dispatcher.in_hand <= 30 * 15)
        assert house.transport.waiting == 30 * 5


async def test_one_lane_never_fills_the_window_and_bulk_leaves_room() -> None:
    house = House(pace=Pace(per_site=100, first_places=100, window=40, batch=40))
    house.transport.gate = asyncio.Event()
    async with house.running():
        for number in range(60):
            await house.submit(f"u@d{number}.example", account="list", stream=Stream.BULK)
        await house.until(lambda: house.transport.waiting >= 20)
        assert house.dispatcher.in_hand <= 30
        await house.submit("u@other.example", account="other", stream=Stream.BULK)
        await house.until(lambda: "u@other.example" in house.transport.begun)
        await house.submit("reset@other.example", lease=True)
        await house.until(lambda: "reset@other.example" in house.transport.begun)


async def test_bulk_is_not_starved_by_what_hurries() -> None:
    house = House(pace=Pace(per_site=2, first_places=2))
    house.transport.turns = asyncio.Semaphore(0)
    async with house.running():
        await house.submit(*(f"b{number}@example.net" for number in range(30)), account="list", stream=Stream.BULK)
        await house.submit(*(f"t{number}@example.net" for number in range(300)), account="app")
        await house.attempts(lambda: len(house.transport.begun) >= 150)
    first = house.transport.begun[:150]
    assert 10 <= sum(name.startswith("b") for name in first) <= 30


# fresh deliveries, leased at acceptance


def room(house: House, *recipients: str, stream: Stream = Stream.TRANSACTIONAL, promised: int = 0) -> int:
    """Ask how many deliveries of a message may be leased."""
    new = house.letters.new(recipients, stream=stream)
    return house.dispatcher.places(new.message, [each.domain for each in new.deliveries], promised)


async def test_fresh_mail_is_leased_while_its_lane_and_its_site_have_room() -> None:
    house = House(pace=Pace(per_site=4, first_places=4, window=40))
    async with house.running():
        many = [f"u{number}@example.net" for number in range(100)]
        # three times the places of a new site: those that are served at once, and those that may wait
        assert room(house, *many) == 12
        assert room(house, "a@example.net", "b@example.org", "c@example.net") == 3
        assert room(house, *(f"u@d{number}.example" for number in range(100))) < 40
        assert room(house, *(f"u@d{number}.example" for number in range(100)), stream=Stream.BULK) < 30
        assert room(house, "a@example.net", promised=40) == 0


async def test_fresh_mail_waits_its_turn_behind_what_is_older() -> None:
    house = House(pace=Pace(per_site=2, first_places=2))
    gate = house.transport.gates["mx.example.net"] = asyncio.Event()
    async with house.running():
        ids = await house.submit(*(f"u{number}@example.net" for number in range(30)))
        await house.until(lambda: house.transport.waiting == 2)
        assert room(house, "late@example.net") == 0
        gate.set()
        await house.states(ids, *[State.DELIVERED] * 30)
        await house.until(lambda: room(house, "late@example.net") == 1)


async def test_nothing_is_leased_before_the_first_look_and_after_the_stop() -> None:
    house = House()
    assert room(house, "a@example.net") == 0
    async with house.running():
        assert room(house, "a@example.net") == 1
        task = asyncio.create_task(house.dispatcher.stop(house.store.lease))
        await task
        assert room(house, "a@example.net") == 0


async def test_large_fresh_messages_do_not_stay_in_memory() -> None:
    house = House()
    async with house.running():
        new = house.letters.new(["a@example.net"], body=b"x" * 70 + b"\r\n" + b"y\r\n" * 30_000)
        accepted = await house.store.accept(new, [], 1)
        house.dispatcher.hand_over(accepted.leased)
        await house.states([new.deliveries[0].id], State.DELIVERED)
    assert house.store.contents_read == 1
