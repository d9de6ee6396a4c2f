"""kill -9 at any moment, any number of times: what was answered 250 arrives (RFC 5321 §6.1)."""

import asyncio
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.scenarios.crowd import Crowd, arrivals
from tests.scenarios.house import House, open_house

ROUNDS = 10
MESSAGES = 500
"""In each round, if the server lives that long."""
LONGEST = 3.0
"""Seconds after which it is killed at the latest."""


@pytest.mark.slow
async def test_no_acknowledged_message_is_lost_however_often_the_server_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    dice, kills = random.Random(seed), []
    async with open_house(tmp_path / "house", start=False) as house:
        crowd = Crowd(house)
        for _ in range(ROUNDS):
            async with house.server, asyncio.TaskGroup() as tasks:
                submitting = tasks.create_task(crowd.submit(MESSAGES))
                await asyncio.wait({submitting}, timeout=dice.uniform(0.05, LONGEST))
                await house.server.kill()
                kills.append(time.time())
            _let_leases_run_out(house)
        async with house.server:
            lost = await crowd.missing()
    arrived = arrivals(house.sink.messages)
    duplicates = {name: times for name, times in arrived.items() if len(times) > 1}
    with capsys.disabled():
        print(
            f"\n{ROUNDS} kills (seed {seed}): acknowledged {len(crowd.acknowledged)}, "
            f"in doubt for the client {len(crowd.unanswered)}, arrived {len(arrived)}, lost {len(lost)}, "
            f"duplicated {len(duplicates)}"
        )
    assert len(crowd.acknowledged) > ROUNDS * 10, "too few for the test to mean something"
    assert lost == set()
    assert arrived.keys() <= crowd.acknowledged | crowd.unanswered
    # twice only what was in doubt (RFC 1047): a kill came in between, and the first reply was not written down
    assert {name: times for name, times in duplicates.items() if not _killed_between(times, kills)} == {}
    assert _written_as_delivered(house) == dict.fromkeys(arrived, 1)


def _let_leases_run_out(house: House) -> None:
    """Make a minute pass for what the killed server had in hand."""
    with closing(sqlite3.connect(house.folder / "data" / "queue.db")) as store, store:
        store.execute("UPDATE deliveries SET lease_until = 0 WHERE state = 'active'")


def _killed_between(times: Sequence[float], kills: Sequence[float]) -> bool:
    return all(any(first <= kill < second for kill in kills) for first, second in pairwise(times))


def _written_as_delivered(house: House) -> Counter[str]:
    with closing(sqlite3.connect(house.folder / "data" / "queue.db")) as store:
        events = [json.loads(data) for (data,) in store.execute("SELECT data FROM events WHERE type = 'delivered'")]
    return Counter(event["message_id"].strip("<>").partition("@")[0] for event in events)
