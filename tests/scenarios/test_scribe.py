"""Mail that waits is written by a process beside the worker: whichever is killed, what was answered 250 is there."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.scenarios.conftest import Tell
from tests.scenarios.crowd import Crowd, arrivals
from tests.scenarios.house import NO_LOGIN, SOAK, House, open_house


def helpers(house: House) -> list[int]:
    """The processes that help to write into the house's store."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            line = (folder / "cmdline").read_bytes() if folder.name.isdigit() else b""
            if b"mta.storage.scribe_main" in line and str(house.folder).encode() in line:
                found.append(int(folder.name))
    return found


@pytest.mark.slow
async def test_kills_of_the_server_and_of_its_helper_lose_nothing(tmp_path: Path, tell: Tell) -> None:
    async with open_house(tmp_path / "house", start=False, more=NO_LOGIN) as house:
        crowd = Crowd(house, clients=20, logs_in=False)
        async with house.server:
            await house.ask("queue", "pause", "--all", "--reason", "a test")
        kills = 0
        for turn in range(20 if SOAK else 4):
            try:
                await house.server.start()
                await house.see("the helper has begun", lambda: bool(helpers(house)))
                async with crowd.pressing():
                    before = len(crowd.acknowledged)
                    await house.see("clients are served", lambda before=before: len(crowd.acknowledged) > before + 50)  # type: ignore[misc]  # of mypy's own
                    for pid in helpers(house) if turn % 2 else []:
                        os.kill(pid, signal.SIGKILL)
                    await asyncio.sleep(0.3)
                    await house.server.kill()
            finally:
                await house.server.kill()
            kills += 1
            await house.see("the helper has ended", lambda: not helpers(house))
        assert not house.sink.messages
        async with house.server:
            await house.ask("queue", "resume", "--all", "--reason", "a test")
            lost = await crowd.missing()
        arrived = arrivals(house.sink.messages)
        tell(
            f"{kills} kills while all mail waits: acknowledged {len(crowd.acknowledged)}, lost {len(lost)}, "
            f"in doubt for their clients {len(crowd.unanswered)}, arrived {len(arrived)}"
        )
        assert lost == set()
        assert arrived.keys() <= crowd.acknowledged | crowd.unanswered
        assert {name: len(times) for name, times in arrived.items() if len(times) > 1} == {}
