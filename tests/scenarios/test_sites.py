"""Sites in trouble, seen through a whole server: one probe for a dead site and not one for each message, the rest goes
on, `mta why` says what holds what waits; times that hosts name, and bounces that cannot be true."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mta.demo.receiver import Behaviour, Receiver
from tests.scenarios.house import PATIENCE, House, open_house

MESSAGES = 40
FIRST = 5
"""Attempts at once to a site that has not answered yet."""


@pytest.mark.slow
async def test_a_dead_site_is_probed_once_in_a_while_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        dead = await stack.enter_async_context(Receiver())
        dead.answer("GREETING", None, Behaviour.CLOSE)
        route = f'[[route]]\ndomain = "dead.example"\nrelay = "smtp://{dead.address}"\n'
        back_off = '{ first = "1s", max = "4s" }'
        house = await stack.enter_async_context(
            open_house(tmp_path / "house", more=route, retry='["1s"]', back_off=back_off)
        )
        queue_id = await house.submit(*(f"r{number}@dead.example" for number in range(MESSAGES)))
        await house.see("the site rests", lambda: _failures(house) > 0)
        await house.submit(*(f"r{number}@example.net" for number in range(MESSAGES)))
        await house.sink.wait_for(MESSAGES, PATIENCE)
        await house.see("it was probed four times", lambda: _failures(house) >= 5)
        # at first as many as find it out at the same time, then one each after 1, 2 and 4 seconds, and again
        assert dead.connections <= FIRST + _failures(house)
        await house.until(lambda: _told_of_rest(house, queue_id), ["rest"])
        dead.answer("GREETING", None, "220 back again")
        await house.see("all is delivered", lambda: not house.open_deliveries())
        assert len(dead.messages) == MESSAGES


async def _told_of_rest(house: House, queue_id: str) -> set[str]:
    """Return what `mta why` says of what is left alone: nothing while a probe is under way."""
    (story,) = await house.why(queue_id)
    return {
        holder["kind"]
        for delivery in story["deliveries"]
        for holder in delivery["held_by"]
        if holder["kind"] == "rest" and holder["until"]
    }


def _failures(house: House) -> int:
    """Return how often a site has failed since it was last there."""
    return max((count for (count,) in house.rows("SELECT failures FROM site_rests")), default=0)


@pytest.mark.slow
async def test_a_site_half_of_whose_hosts_hang_is_served_by_the_other_half(tmp_path: Path) -> None:
    timeouts = 'timeouts = { greeting = "1s" }'
    async with open_house(tmp_path / "house", start=False) as house:
        house.config.write_text(house.config.read_text().replace("[delivery]\n", f"[delivery]\n{timeouts}\n"))
        async with Receiver("127.0.0.2", house.sink.port) as hanging, house.server:
            hanging.answer("GREETING", None, Behaviour.HANG)
            house.names.add("half.example", "MX", "10 one.half.example.", "10 two.half.example.")
            house.names.add("one.half.example", "A", house.sink.host)
            house.names.add("two.half.example", "A", hanging.host)
            await house.submit(*(f"r{number}@half.example" for number in range(MESSAGES)))
            await house.see("all is delivered", lambda: not house.open_deliveries())
            assert len(house.sink.messages) == MESSAGES
            # the next host is asked in the same attempt
            assert house.rows("SELECT count(*) FROM events WHERE type = 'deferred'") == [(0,)]
            assert hanging.connections > 0


@pytest.mark.parametrize(
    ("reply", "least", "most"),
    [
        pytest.param("450 4.7.1 Try again in 40 seconds", 40, 45, id="a-time-is-named"),
        pytest.param("450 4.7.1 Greylisted, please come back later", 300, 331, id="greylisting"),
        pytest.param("450 4.3.0 The disk is being looked at", 3240, 3961, id="nothing-is-named"),
    ],
)
async def test_a_host_may_say_when_to_come_again(tmp_path: Path, reply: str, least: int, most: int) -> None:
    async with open_house(tmp_path / "house", retry='["1h"]') as house:
        house.sink.answer("RCPT", None, reply)
        queue_id = await house.submit("a@example.net")
        deferred = "SELECT e.at, d.due_at FROM events e JOIN deliveries d USING (queue_id) WHERE e.type = 'deferred'"
        await house.see("it is deferred", lambda: house.rows(deferred) != [])
        ((at, due_at),) = house.rows(f"{deferred} AND d.queue_id = ?", queue_id)
        # what lies between the decision and its commit
        assert least - 1 <= (due_at - at) / 1000 <= most + 30


async def test_a_host_that_suddenly_knows_nobody_empties_no_list(house: House) -> None:
    known = [f"r{number}@example.net" for number in range(12)]
    await house.submit(*known)
    await house.sink.wait_for(len(known), PATIENCE)
    await house.see("all is noted", lambda: not house.open_deliveries())
    house.sink.answer("RCPT", "@example.net", "550 5.1.1 No such user")
    await house.submit(*known)
    await house.see("all have bounced", lambda: _events(house, "bounced") == len(known))
    assert _events(house, "breaker_open") == 1
    # nine may be true; from the tenth on nobody is put on the list
    assert _events(house, "suppression_added") == 9
    assert house.logged("its bounces suppress nobody") == 1
    # they wait, and do what they would have done when somebody says that it is true
    (waiting,) = await house.ask("bounces", "withheld")
    assert waiting["bounces"] == 3
    sites = "SELECT DISTINCT site FROM deliveries WHERE domain = 'example.net'"
    assert house.rows(sites) == [(waiting["site"],)]
    await house.ask("bounces", "apply", waiting["site"], "--reason", "all of them have left")
    await house.see("all are on the list", lambda: _events(house, "suppression_added") == len(known))
    assert await house.ask("bounces", "withheld") == []
    assert house.rows("SELECT sum(ended), sum(hard_bounced) FROM tallies") == [(2 * len(known), len(known))]


def _events(house: House, kind: str) -> int:
    return int(house.rows("SELECT count(*) FROM events WHERE type = ?", kind)[0][0])
