"""kill -9 at any moment, any number of times: what was answered 250 arrives (RFC 5321 §6.1).

A message may arrive twice only when a kill came between its arrival and the commit that notes it (RFC 1047).
"""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from mta.control.client import Client
from tests.scenarios.conftest import Tell
from tests.scenarios.crowd import Crowd, arrivals
from tests.scenarios.house import NO_LOGIN, SOAK, House, open_house

CLIENTS = 20
READ_LATE = 2.0
"""Seconds in which a busy receiver has read what a killed process had sent."""
LONGEST = 3.0 if SOAK else 1.0
"""Seconds after which it is killed at the latest."""
EVERY = 5
"""Every fifth kill comes while the server starts."""
WINDOW = 20
"""Attempts to a site that may be under way in a worker."""


@dataclass
class Toll:
    """What kills cost."""

    seed: int = field(default_factory=lambda: random.SystemRandom().randrange(10**6))
    kills: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def killed(self) -> None:
        """Note when."""
        self.kills.append(time.time())

    async def check(self, house: House, crowd: Crowd, tell: Tell, workers: int) -> None:
        """Let the server deliver what is left, and say what was lost and what came twice."""
        async with house.server:
            lost = await crowd.missing()
        arrived = arrivals(house.sink.messages)
        duplicates = {name: times for name, times in arrived.items() if len(times) > 1}
        tell(
            f"{len(self.kills)} kills, {workers} worker(s), {CLIENTS} clients (seed {self.seed}): "
            f"acknowledged {len(crowd.acknowledged)}, in doubt for their clients {len(crowd.unanswered)}, "
            f"arrived {len(arrived)}, lost {len(lost)}, duplicated {len(duplicates)}",
            kills=len(self.kills),
            acknowledged=len(crowd.acknowledged),
            lost=len(lost),
            duplicated=len(duplicates),
        )
        assert len(crowd.acknowledged) > len(self.kills), "too few for the test to mean something"
        assert lost == set()
        assert arrived.keys() <= crowd.acknowledged | crowd.unanswered
        assert {name: times for name, times in duplicates.items() if not self._explains(times)} == {}
        assert len(duplicates) <= WINDOW * workers * len(self.kills)
        # of what arrived twice the first reply was not written down: what is written as delivered is never sent again
        assert _written_as_delivered(house) == dict.fromkeys(arrived, 1)

    def _explains(self, times: list[float]) -> bool:
        """Whether there was a kill between any two arrivals, or just before: what was sent is read a little later."""
        return all(any(first - READ_LATE <= kill < second for kill in self.kills) for first, second in pairwise(times))


def _written_as_delivered(house: House) -> Counter[str]:
    events = [json.loads(data) for (data,) in house.rows("SELECT data FROM events WHERE type = 'delivered'")]
    return Counter(event["message_id"].strip("<>").partition("@")[0] for event in events)


@pytest.mark.slow
@pytest.mark.timeout(1800 if SOAK else 120)
async def test_no_acknowledged_message_is_lost_however_often_the_server_is_killed(tmp_path: Path, tell: Tell) -> None:
    toll = Toll()
    async with open_house(tmp_path / "house", more=NO_LOGIN, start=False) as house:
        crowd = Crowd(house, CLIENTS, logs_in=False)
        for number in range(100 if SOAK else 10):
            if number % EVERY == EVERY - 1:
                await _start_in_vain(house, toll.dice.uniform(0.2, 2))
                toll.killed()
                continue
            async with house.server, crowd.pressing():
                await asyncio.sleep(toll.dice.uniform(0.05, LONGEST))
                await house.server.kill()
                toll.killed()
        await toll.check(house, crowd, tell, 1)


async def _start_in_vain(house: House, seconds: float) -> None:
    """Start the server and kill it so soon after."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await house.server.start()
    await house.server.kill()


@pytest.mark.slow
@pytest.mark.timeout(1800 if SOAK else 120)
async def test_nothing_is_lost_when_workers_and_then_all_processes_are_killed(tmp_path: Path, tell: Tell) -> None:
    toll = Toll()
    async with open_house(tmp_path / "house", more=NO_LOGIN, start=False, workers=2) as house:
        crowd = Crowd(house, CLIENTS, logs_in=False)
        for _ in range(50 if SOAK else 5):
            async with house.server, crowd.pressing():
                await asyncio.sleep(toll.dice.uniform(0.05, LONGEST))
                os.kill(toll.dice.choice(await _workers(house)), signal.SIGKILL)
                toll.killed()
                await asyncio.sleep(toll.dice.uniform(0.05, LONGEST))
                await _kill_all(house)
                toll.killed()
        await toll.check(house, crowd, tell, 2)


async def _workers(house: House) -> list[int]:
    """Return the processes that serve, when there is one."""
    client = Client(house.folder / "data" / "control.sock")
    while True:
        status = await asyncio.to_thread(lambda: client.one("status"))
        if found := [int(row["pid"]) for row in status["workers"] if row["state"] == "serving"]:
            return found
        await asyncio.sleep(0.05)


async def _kill_all(house: House) -> None:
    """Kill the supervisor and its workers, as a power cut would but for the disk."""
    workers = _children(house.server.pid)
    await house.server.kill()
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    await house.see("all workers are gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
