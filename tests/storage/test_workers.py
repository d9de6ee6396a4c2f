"""Who lives and who died is told by locks, which the kernel lets go of with the process."""

import asyncio
import sys
from pathlib import Path

import pytest

from mta.storage.workers import Liveness


class Office:
    """Gives back what dead workers had, two deliveries each, unless the store cannot be written."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.is_shut = False

    async def give_back(self, worker: int) -> int:
        self.asked.append(worker)
        if self.is_shut:
            raise OSError("the store cannot be written")
        return 2


@pytest.fixture
def office() -> Office:
    return Office()


def locks(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def killed(folder: Path, number: int) -> None:
    """Let a worker of a number live in a process of its own, and kill it."""
    program = f"""
from pathlib import Path
from mta.storage.workers import Liveness
Liveness(Path({str(folder)!r})).hold({number})
print("held", flush=True)
import time; time.sleep(600)
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"held\n"
        with Liveness(folder) as me:
            office = Office()
            assert await me.follow_the_dead(office.give_back) == 0
            assert office.asked == [], "it lives"
    finally:
        process.kill()
        await process.wait()


async def test_a_worker_that_was_killed_is_known_to_be_dead_at_once(tmp_path: Path, office: Office) -> None:
    await killed(tmp_path, 7)
    with Liveness(tmp_path) as me:
        me.hold(8)
        assert await me.follow_the_dead(office.give_back) == 2
        assert office.asked == [7]
        assert locks(tmp_path) == ["worker.8.lock"]
        assert await me.follow_the_dead(office.give_back) == 0


async def test_one_that_lives_is_left_alone(tmp_path: Path, office: Office) -> None:
    with Liveness(tmp_path) as one, Liveness(tmp_path) as other:
        one.hold(1)
        other.hold(2)
        assert await one.follow_the_dead(office.give_back) == 0
        assert await other.follow_the_dead(office.give_back) == 0
    assert office.asked == []


async def test_one_that_ended_in_order_leaves_nothing(tmp_path: Path, office: Office) -> None:
    with Liveness(tmp_path) as one:
        one.hold(1)
    assert locks(tmp_path) == []


async def test_one_that_ended_with_an_error_is_followed(tmp_path: Path, office: Office) -> None:
    one = Liveness(tmp_path)
    one.hold(1)
    one.__exit__(KeyError, KeyError(), None)
    with Liveness(tmp_path) as other:
        assert await other.follow_the_dead(office.give_back) == 2


async def test_one_without_a_number_says_nothing(tmp_path: Path) -> None:
    with Liveness(tmp_path):
        assert locks(tmp_path) == []
    assert locks(tmp_path) == []


async def test_while_the_store_cannot_be_written_the_dead_stay_to_be_followed(tmp_path: Path, office: Office) -> None:
    await killed(tmp_path, 7)
    with Liveness(tmp_path) as me:
        office.is_shut = True
        with pytest.raises(OSError, match="cannot be written"):
            await me.follow_the_dead(office.give_back)
        office.is_shut = False
        assert await me.follow_the_dead(office.give_back) == 2


async def test_two_that_look_at_once_follow_a_dead_one_once(tmp_path: Path, office: Office) -> None:
    await killed(tmp_path, 7)
    with Liveness(tmp_path) as one, Liveness(tmp_path) as other:
        met = asyncio.Event()

        async def slowly(worker: int) -> int:
            await met.wait()
            return await office.give_back(worker)

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            first = tasks.create_task(one.follow_the_dead(slowly))
            await asyncio.sleep(0)
            assert await other.follow_the_dead(office.give_back) == 0
            met.set()
        assert first.result() == 2
    assert office.asked == [7]


async def test_files_of_others_are_left_alone(tmp_path: Path, office: Office) -> None:
    for name in ("worker.x.lock", "worker.\u0663.lock", "server.lock", "worker.1.sock"):
        (tmp_path / name).touch()
    before = locks(tmp_path)
    with Liveness(tmp_path) as me:
        assert await me.follow_the_dead(office.give_back) == 0
    assert locks(tmp_path) == before
