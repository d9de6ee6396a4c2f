"""Workers that die, refuse, do not end: what their supervisor makes of it. The workers are a script of our own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from mta.clock import SystemClock
from mta.supervisor.crew import BackOff, Begin, Berth, Crew, Patience, Place, Refused, State

SCRIPT = Path(__file__).with_name("fake_worker.py")
SOON = BackOff(first=timedelta(milliseconds=10), most=timedelta(milliseconds=10))
LONG = timedelta(minutes=5)


@dataclass
class Rig:
    """A crew of fake workers, and what they noted."""

    crew: Crew
    diary: Path

    @property
    def noted(self) -> list[str]:
        return self.diary.read_text("ascii").split() if self.diary.exists() else []

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110  other processes
                await asyncio.sleep(0.01)

    async def until_all(self, state: State) -> None:
        await self.until(lambda: all(place.state is state for place in self.crew.places))

    def place(self, number: int = 1) -> Place:
        return self.crew.places[number - 1]


def rig(
    folder: Path, hows: Sequence[str], count: int = 1, back_off: BackOff = SOON, patience: Patience | None = None
) -> Rig:
    """Return a crew whose first workers are of these kinds, and the later ones of the last kind."""
    diary, left = folder / "diary", list(hows)

    def begin(berth: Berth) -> Begin:
        how = left.pop(0) if len(left) > 1 else left[0]
        command = [sys.executable, "-I", "-S", str(SCRIPT), how, str(berth.lifeline), str(diary)]
        return Begin(command, (berth.lifeline,))

    return Rig(Crew(count, begin, SystemClock(), back_off, patience or Patience()), diary)


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator["asyncio.Task[int]"]:
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rig.crew.run())
        yield task
        if not rig.crew.is_stopping:
            rig.crew.stop()


@pytest.mark.parametrize(
    ("last", "lived", "wait"),
    [
        (None, 0, 1),
        (None, 3600, 1),
        (1, 0, 2),
        (2, 59, 4),
        (32, 1, 60),
        (60, 1, 60),
        (60, 60, 1),
        (8, 61, 1),
    ],
)
def test_the_wait_doubles_up_to_a_minute_and_begins_anew_after_a_good_one(
    last: int | None, lived: int, wait: int
) -> None:
    before = None if last is None else timedelta(seconds=last)
    assert BackOff().after(before, timedelta(seconds=lived)) == timedelta(seconds=wait)


async def test_all_serve_and_all_end_in_order(tmp_path: Path) -> None:
    one = rig(tmp_path, ["obey"], count=3)
    async with running(one) as task:
        await one.until_all(State.SERVING)
        assert len({place.pid for place in one.crew.places}) == 3
        one.crew.stop()
        assert await task == 0
    assert sorted(one.noted) == ["begun"] * 3 + ["stop"] * 3
    assert [(place.state, place.deaths) for place in one.crew.places] == [(State.ENDED, 0)] * 3


@pytest.mark.parametrize(
    ("how", "told"), [("die", "ended with exit code 3"), ("die of a signal", "was killed by SIGKILL")]
)
async def test_where_one_dies_another_is_begun_and_it_is_told_how(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, told: str
) -> None:
    one = rig(tmp_path, [how, how, "obey"])
    async with running(one):
        await one.until(lambda: one.place().deaths == 2 and one.place().state is State.SERVING)
    assert one.place().last_end == told
    deaths = [record.getMessage() for record in caplog.records if told in record.getMessage()]
    assert len(deaths) == 2
    assert deaths[0].startswith("worker 1 (process ")
    assert deaths[0].endswith("another is begun in 0.01 s")


async def test_the_others_go_on_while_one_waits_to_be_begun_again(tmp_path: Path) -> None:
    one = rig(tmp_path, ["obey"], count=2, back_off=BackOff(first=LONG, most=LONG))
    async with running(one) as task:
        await one.until_all(State.SERVING)
        pid = one.place(2).pid
        os.kill(one.place(1).pid or 0, signal.SIGKILL)
        await one.until(lambda: one.place(1).state is State.DOWN)
        assert (one.place(2).state, one.place(2).pid) == (State.SERVING, pid)
        one.crew.stop()
        assert await task == 0
    assert one.noted.count("begun") == 2


async def test_what_a_worker_cannot_use_at_its_first_start_ends_all(tmp_path: Path) -> None:
    one = rig(tmp_path, ["obey", "refuse"], count=2)
    async with asyncio.timeout(120):
        with pytest.raises(Refused):
            await one.crew.run()
    assert [place.state for place in one.crew.places] == [State.ENDED] * 2


async def test_a_worker_that_follows_a_dead_one_may_refuse_without_ending_the_others(tmp_path: Path) -> None:
    one = rig(tmp_path, ["die", "refuse", "obey"])
    async with running(one):
        await one.until(lambda: one.place().deaths == 2 and one.place().state is State.SERVING)
    assert one.place().last_end == "ended with exit code 78"


async def test_a_worker_that_cannot_be_begun_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    commands = [[str(tmp_path / "nothing")], [sys.executable, "-I", "-S", str(SCRIPT), "obey"]]

    def begin(berth: Berth) -> Begin:
        command = commands.pop(0)
        return Begin([*command, str(berth.lifeline), str(tmp_path / "diary")], (berth.lifeline,))

    one = Rig(Crew(1, begin, SystemClock(), SOON), tmp_path / "diary")
    async with running(one):
        await one.until_all(State.SERVING)
    assert "worker 1 could not be begun: " in caplog.text


async def test_it_is_starting_until_every_worker_has_served_or_died(tmp_path: Path) -> None:
    one = rig(tmp_path, ["mute"])
    async with running(one):
        await one.until(lambda: one.place().pid is not None)
        assert one.crew.is_starting
        assert one.place().state is State.STARTING
    assert not one.crew.is_starting


async def test_one_that_is_told_not_to_wait_ends_without_being_killed(tmp_path: Path) -> None:
    one = rig(tmp_path, ["late"], patience=Patience(hurry=LONG))
    async with running(one) as task:
        await one.until_all(State.SERVING)
        one.crew.stop()
        await one.until(lambda: "stop" in one.noted)
        one.crew.stop()
        assert await task == 0
    assert one.noted == ["begun", "stop", "now"]


async def test_one_that_does_not_end_in_time_is_told_not_to_wait(tmp_path: Path) -> None:
    one = rig(tmp_path, ["late"], patience=Patience(margin=timedelta(milliseconds=20), hurry=LONG))
    async with running(one) as task:
        await one.until_all(State.SERVING)
        one.crew.stop()
        assert await task == 0
    assert one.noted == ["begun", "stop", "now"]


async def test_one_that_does_not_end_at_all_is_killed_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    briefly = timedelta(milliseconds=20)
    one = rig(tmp_path, ["deaf", "obey"], count=2, patience=Patience(margin=briefly, hurry=briefly))
    async with running(one) as task:
        await one.until_all(State.SERVING)
        pid = one.place(1).pid
        one.crew.stop()
        assert await task == 1
    assert f"worker 1 (process {pid}) does not end and is killed" in caplog.text


async def test_signals_are_passed_on_to_those_that_serve(tmp_path: Path) -> None:
    one = rig(tmp_path, ["obey", "mute"], count=2)
    async with running(one):
        # a worker that is not there yet would die of them
        await one.until(lambda: one.place(1).state is State.SERVING and one.noted.count("begun") == 2)
        one.crew.signal(signal.SIGHUP)
        await one.until(lambda: "SIGHUP" in one.noted)
        one.crew.signal(signal.SIGUSR1)
        await one.until(lambda: "SIGUSR1" in one.noted)
    assert sorted(one.noted) == ["SIGHUP", "SIGUSR1", "begun", "begun", "stop", "stop"]


async def test_workers_are_not_in_the_terminals_session(tmp_path: Path) -> None:
    one = rig(tmp_path, ["obey"])
    async with running(one):
        await one.until_all(State.SERVING)
        pid = one.place().pid
        assert pid is not None
        assert os.getsid(pid) == pid


async def test_workers_hear_of_the_end_of_their_supervisor(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from mta.clock import SystemClock
from mta.supervisor.crew import Begin, Crew
def begin(berth):
    script = [sys.executable, "-I", "-S", {str(SCRIPT)!r}, "obey"]
    return Begin([*script, str(berth.lifeline), {str(tmp_path / "diary")!r}], (berth.lifeline,))
asyncio.run(Crew(2, begin, SystemClock()).run())
"""
    diary = Rig(Crew(1, lambda berth: Begin([], ()), SystemClock()), tmp_path / "diary")
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    try:
        await diary.until(lambda: diary.noted.count("begun") == 2)
    finally:
        supervisor.kill()
        await supervisor.wait()
    await diary.until(lambda: diary.noted.count("orphaned") == 2)
