"""Signals: a stop in the middle of everything loses and doubles nothing; reloading; telling the state."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from mta.demo.receiver import Behaviour
from tests.scenarios.conftest import Tell
from tests.scenarios.crowd import Crowd, arrivals
from tests.scenarios.house import NO_LOGIN, SOAK, House, open_house


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
async def test_sigterm_under_load_loses_and_doubles_nothing(tmp_path: Path, tell: Tell, workers: int) -> None:
    async with open_house(tmp_path / "house", start=False, more=NO_LOGIN, workers=workers) as house:
        crowd = Crowd(house, clients=20, logs_in=False)
        codes, in_hand = [], 0
        for pause in (0.2, 0.5, 1.0) * (5 if SOAK else 1):
            async with house.server, crowd.pressing():
                before = len(crowd.acknowledged)
                await house.see("clients are served", lambda before=before: len(crowd.acknowledged) > before)  # type: ignore[misc]  # of mypy's own
                await asyncio.sleep(pause)
                codes.append(await house.server.stop())
            # what was not begun, or dropped before its dot, is due at the next start as if nothing had been
            assert house.rows("SELECT count(*) FROM deliveries WHERE state = 'active'") == [(0,)]
            assert house.rows("SELECT count(*) FROM events WHERE type = 'deferred'") == [(0,)]
            in_hand += house.open_deliveries()
        async with house.server:
            lost = await crowd.missing()
        arrived = arrivals(house.sink.messages)
        twice = {name for name, times in arrived.items() if len(times) > 1}
        tell(
            f"{len(codes)} stops of {workers} worker(s) under 20 clients: acknowledged {len(crowd.acknowledged)}, "
            f"left in the queue {in_hand}, arrived {len(arrived)}, lost {len(lost)}, duplicated {len(twice)}",
            stops=len(codes),
            acknowledged=len(crowd.acknowledged),
            lost=len(lost),
            duplicated_by_stops=len(twice),
        )
        assert codes == [0] * len(codes)
        assert (lost, twice) == (set(), set())
        assert len(crowd.acknowledged) > 30, "too few for the test to mean something"
        assert arrived.keys() == crowd.acknowledged, "what was taken, its client was told of"
        assert house.logged("in doubt at stop") == 0


async def test_what_is_in_doubt_when_the_grace_is_over_is_named_in_the_log(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", start=False) as house:
        house.config.write_text(house.config.read_text().replace('stop_grace = "5s"', 'stop_grace = "500ms"'))
        house.sink.answer("DOT", None, Behaviour.HANG)
        async with house.server:
            queue_id = await house.submit("a@example.net")
            await house.until(lambda: _commands_ending(house, "DATA"), ["DATA"])
            assert await house.server.stop() == 0
        assert f"the reply to the final dot of {queue_id} to a@example.net had not come" in house.server.tail()


async def _commands_ending(house: House, last: str) -> list[str]:
    return house.sink.commands[-1:] if house.sink.commands else []


async def test_sighup_reloads_and_says_what_changed(house: House) -> None:
    house.config.write_text(house.config.read_text() + '\n[[route]]\ndomain = "example.net"\nhold = true\n')
    house.server.signal(signal.SIGHUP)
    await house.until(lambda: _logged(house, "configuration reloaded: route"), ["info"])
    await house.wait_for_states(await house.submit("a@example.net"), "held")


async def test_sighup_with_a_broken_configuration_changes_nothing_and_says_why(house: House) -> None:
    house.config.write_text(house.config.read_text() + "\n[queues]\n")
    house.server.signal(signal.SIGHUP)
    await house.until(lambda: _logged(house, "the old one stays in force"), ["error"])
    assert 'scenario.toml:18: unknown key \\"queues\\"; did you mean' in house.server.tail()
    await house.submit("a@example.net")
    await house.sink.wait_for(1)


async def test_sigusr1_tells_the_state(house: House) -> None:
    with house.connect():
        house.server.signal(signal.SIGUSR1)
        await house.until(lambda: _logged(house, "state: "), ["info"])
    (line,) = [line for line in _lines(house) if line.get("message", "").startswith("state: ")]
    state = json.loads(line["message"].removeprefix("state: "))
    assert (state["hostname"], state["in_hand"], state["clients"]) == ("mail.example.com", 0, 1)


async def _logged(house: House, text: str) -> list[str]:
    """Return the levels of the log's lines that say something."""
    return [line["level"] for line in _lines(house) if text in line.get("message", "")]


def _lines(house: House) -> list[dict[str, Any]]:
    return [json.loads(line) for line in house.server.log.read_text("utf-8").splitlines() if line.endswith("}")]
