"""What one turn of the loop says is sent together behind it."""

import asyncio

from mta.smtp.outbox import Outbox


async def test_what_is_posted_in_a_turn_is_sent_behind_all_that_ran_in_it() -> None:
    told: list[str] = []
    outbox = Outbox()

    async def client(name: str) -> None:
        told.append(f"{name} speaks")
        outbox.post(lambda: told.append(f"{name} hears"))

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(client(name))
    await asyncio.sleep(0)

    assert told == ["a speaks", "b speaks", "c speaks", "a hears", "b hears", "c hears"]


async def test_what_is_posted_while_others_are_sent_comes_in_the_next_turn() -> None:
    told: list[str] = []
    outbox = Outbox()

    def again() -> None:
        told.append("first")
        outbox.post(lambda: told.append("second"))

    outbox.post(again)
    outbox.post(lambda: told.append("neighbour"))
    for _ in range(3):
        await asyncio.sleep(0)

    assert told == ["first", "neighbour", "second"]
