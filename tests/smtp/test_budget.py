"""Room for contents: who gets it, in which order, and that nobody waits for ever."""

import asyncio
import random

import pytest

from mta.smtp.budget import ReceiveBudget, Share

LONG = 600.0


async def waiting(share: Share, octets: int) -> "asyncio.Task[bool]":
    """Begin to wait for room; return when it does."""
    task = asyncio.ensure_future(share.wait(octets, LONG))
    await asyncio.sleep(0)
    return task


async def test_room_is_given_up_to_the_ceiling_and_comes_back() -> None:
    budget = ReceiveBudget(100)
    one, two = budget.share(), budget.share()
    assert one.take(60)
    assert two.take(40)
    assert not two.take(1)
    assert budget.held == 100
    one.give_back()
    one.give_back()
    assert budget.held == 40
    assert two.take(60)


async def test_without_a_ceiling_there_is_always_room() -> None:
    share = ReceiveBudget().share()
    assert share.take(10**12)


async def test_a_content_waits_until_another_has_ended() -> None:
    budget = ReceiveBudget(100)
    one, two = budget.share(), budget.share()
    assert one.take(100)
    task = await waiting(two, 10)
    assert not task.done()
    one.give_back()
    assert await task
    assert (budget.held, two.held) == (10, 10)


async def test_it_waits_only_so_long() -> None:
    budget = ReceiveBudget(100)
    one, two = budget.share(), budget.share()
    assert one.take(100)
    assert not await two.wait(10, 0.01)
    assert budget.held == 100
    one.give_back()
    assert two.take(100)  # nobody is left in the queue


async def test_what_can_never_fit_is_told_so_at_once() -> None:
    budget = ReceiveBudget(100)
    share = budget.share()
    assert share.take(50)
    assert not await share.wait(51, LONG)


async def test_the_content_that_began_first_is_served_first() -> None:
    budget = ReceiveBudget(100)
    old, young, holder = budget.share(), budget.share(), budget.share()
    assert holder.take(100)
    second = await waiting(young, 10)
    first = await waiting(old, 95)
    holder.give_back()
    assert await first
    assert not second.done()
    # nor is it overtaken by who does not wait
    assert not budget.share().take(1)
    old.give_back()
    assert await second


async def test_when_all_who_hold_room_wait_the_last_one_is_turned_away() -> None:
    budget = ReceiveBudget(100)
    old, young = budget.share(), budget.share()
    assert old.take(50)
    assert young.take(50)
    second = await waiting(young, 10)
    assert not second.done()
    first = await waiting(old, 20)
    assert not await second
    assert not first.done()
    young.give_back()
    assert await first
    assert budget.held == 70


async def test_a_small_wish_is_granted_before_anybody_is_turned_away() -> None:
    budget = ReceiveBudget(100)
    empty, holder = budget.share(), budget.share()
    assert holder.take(90)
    first = await waiting(empty, 50)
    assert await holder.wait(10, LONG)
    holder.give_back()
    assert await first


async def test_who_is_cancelled_leaves_no_trace() -> None:
    budget = ReceiveBudget(100)
    one, two, three = budget.share(), budget.share(), budget.share()
    assert one.take(100)
    task, after = await waiting(two, 100), await waiting(three, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    one.give_back()
    assert await after
    assert budget.held == 10


async def test_a_higher_ceiling_lets_those_in_who_wait() -> None:
    budget = ReceiveBudget(10)
    one, two = budget.share(), budget.share()
    assert one.take(10)
    task = await waiting(two, 10)
    budget.replace(20)
    assert await task
    budget.replace(None)
    assert one.take(10**9)


@pytest.mark.parametrize("seed", range(20))
async def test_many_contents_come_to_their_end_under_the_ceiling_and_the_first_is_among_them(seed: int) -> None:
    dice, budget, taken = random.Random(seed), ReceiveBudget(100), []

    async def content(number: int) -> None:
        share = budget.share()
        try:
            for _ in range(dice.randrange(1, 9)):
                wanted = dice.randrange(1, 11)
                if not share.take(wanted) and not await share.wait(wanted, LONG):
                    return
                assert budget.held <= 100
                await asyncio.sleep(0)
            taken.append(number)
        finally:
            share.give_back()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(content(number))
    assert 0 in taken
    assert budget.held == 0
