"""One control socket for several workers: what one does, what all do, and what is told when some do not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mta.control.protocol import CommandFailed, Json, Request
from mta.control.server import ControlServer
from mta.supervisor.crew import Place, State
from mta.supervisor.relay import Relay

Answer = Callable[[Request], list[Json]]


class FakeWorker:
    """Answers as it is told to, and remembers what it was asked, and for whom."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked: list[tuple[str, str]] = []
        self.refuses: dict[str, CommandFailed] = {}
        self.is_frozen = False
        self.counted = 0

    async def run(self, request: Request, who: str) -> AsyncIterator[Json]:
        """Carry out a command."""
        self.asked.append((request.command, who))
        if self.is_frozen:
            await asyncio.Event().wait()
        if request.command in self.refuses:
            raise self.refuses[request.command]
        match request.command:
            case "status":
                yield {"worker": 10 + self.number, "in_hand": 2, "clients": 3, "listeners": {"http": ["a"]}}
            case "exposition":
                yield {"piece": "# TYPE jobs_total counter\njobs_to"}
                yield {"piece": f"tal {self.counted}\n"}
            case "news":
                pass
            case _:
                yield {"by": self.number, "first": True}
                yield {"by": self.number, "first": False}

    def commands(self) -> list[str]:
        """Return what it was asked, but for whether it is awake."""
        return [command for command, _ in self.asked if command != "status"]


@dataclass
class FakeCrew:
    """Some workers, as the supervisor sees them."""

    places: list[Place]
    is_starting: bool = False
    is_stopping: bool = False
    workers: list[FakeWorker] = field(default_factory=list)

    def change(self, number: int, **changes: Any) -> None:
        self.places[number - 1] = replace(self.places[number - 1], **changes)


@asynccontextmanager
async def relayed(folder: Path, count: int = 2) -> AsyncIterator[tuple[FakeCrew, Relay]]:
    crew = FakeCrew([Place(number, State.SERVING, 100 + number) for number in range(1, count + 1)])
    relay = Relay(
        crew,
        lambda number: folder / f"{number}.sock",
        "mail.example.com",
        patience=timedelta(seconds=30),
        glance=timedelta(seconds=30),
    )
    async with AsyncExitStack() as stack:
        for number in range(1, count + 1):
            worker = FakeWorker(number)
            crew.workers.append(worker)
            await stack.enter_async_context(
                ControlServer(folder / f"{number}.sock", worker, at_the_end=0.0, passed_on=True)
            )
        yield crew, relay


async def ask(relay: Relay, command: str, **arguments: Any) -> list[Json]:
    async with asyncio.timeout(60):
        return [row async for row in relay.run(Request(command, arguments), "uid 7")]


async def test_one_worker_carries_out_a_command_for_whoever_asked_and_the_others_hear_of_it(tmp_path: Path) -> None:
    async with relayed(tmp_path, 3) as (crew, relay):
        assert await ask(relay, "queue.hold") == [{"by": 1, "first": True}, {"by": 1, "first": False}]
        assert ("queue.hold", "uid 7") in crew.workers[0].asked
        assert [worker.commands() for worker in crew.workers] == [["queue.hold"], ["news"], ["news"]]


async def test_a_credential_is_no_news(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        await ask(relay, "credential")
        assert crew.workers[1].commands() == []


async def test_a_refusal_is_passed_on_as_it_is_and_may_have_been_half_of_the_work(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        crew.workers[0].refuses["queue.hold"] = CommandFailed("no such selector", 65)
        with pytest.raises(CommandFailed, match=r"^no such selector$") as refused:
            await ask(relay, "queue.hold")
        assert refused.value.exit_code == 65
        assert crew.workers[1].commands() == ["news"]


async def test_a_worker_that_does_not_serve_is_not_asked(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        crew.change(1, state=State.DOWN, pid=None)
        assert [row["by"] for row in await ask(relay, "queue.hold")] == [2, 2]
        assert crew.workers[0].asked == []


async def test_a_worker_whose_socket_is_gone_is_passed_over(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (_, relay):
        (tmp_path / "1.sock").unlink()
        assert [row["by"] for row in await ask(relay, "queue.hold")] == [2, 2]


async def test_a_worker_that_stands_still_keeps_no_command_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with relayed(tmp_path) as (crew, _):
        crew.workers[0].is_frozen = True
        glance = timedelta(seconds=2)
        relay = Relay(crew, lambda number: tmp_path / f"{number}.sock", "mail.example.com", glance=glance)
        assert [row["by"] for row in await ask(relay, "queue.hold")] == [2, 2]
        assert "worker 1 does not answer" in caplog.text
        assert "worker 1 was told news and did not answer" in caplog.text


async def test_the_state_names_a_worker_that_does_not_answer(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        crew.workers[0].refuses["status"] = CommandFailed("no", 75)
        (status,) = await ask(relay, "status")
        assert [row["state"] for row in status["workers"]] == ["silent", "serving"]


@pytest.mark.parametrize(
    ("is_starting", "is_stopping", "said"),
    [
        (True, False, "the server is still starting"),
        (False, True, "the server is stopping"),
        (False, False, "no worker answers just now"),
    ],
)
async def test_without_a_worker_it_says_why_and_to_try_again(
    tmp_path: Path, is_starting: bool, is_stopping: bool, said: str
) -> None:
    crew = FakeCrew([Place(1)], is_starting, is_stopping)
    relay = Relay(crew, lambda number: tmp_path / f"{number}.sock", "mail.example.com")
    with pytest.raises(CommandFailed, match=said) as refused:
        await ask(relay, "queue.hold")
    assert refused.value.exit_code == 75


async def test_the_state_is_that_of_all_workers(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        crew.change(2, deaths=4, last_end="was killed by SIGKILL")
        (status,) = await ask(relay, "status")
        assert (status["hostname"], status["in_hand"], status["clients"]) == ("mail.example.com", 4, 6)
        assert status["listeners"] == {"http": ["a"]}
        own = {"in_hand": 2, "clients": 3}
        assert status["workers"] == [
            {"number": 1, "state": "serving", "pid": 101, "deaths": 0, "worker": 11, **own},
            {
                "number": 2,
                "state": "serving",
                "pid": 102,
                "deaths": 4,
                "last_end": "was killed by SIGKILL",
                "worker": 12,
                **own,
            },
        ]


async def test_a_reload_is_for_all(tmp_path: Path) -> None:
    async with relayed(tmp_path, 3) as (crew, relay):
        (row,) = await ask(relay, "reload")
        assert row["by"] == 1
        assert [worker.commands() for worker in crew.workers] == [["reload"]] * 3


async def test_what_the_first_worker_refuses_to_take_over_no_other_is_asked_to(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        crew.workers[0].refuses["reload"] = CommandFailed("mta.toml:3: unknown key", 78)
        with pytest.raises(CommandFailed, match=r"^mta\.toml:3: unknown key$"):
            await ask(relay, "reload")
        assert crew.workers[1].commands() == []


async def test_a_reload_that_only_some_took_over_is_told_with_what_to_do(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        crew.workers[1].refuses["reload"] = CommandFailed("the store is locked", 75)
        with pytest.raises(CommandFailed, match=r"worker 2 did not .*run this again: the store is locked"):
            await ask(relay, "reload")


async def jobs(relay: Relay) -> str:
    text = "".join(row["piece"] for row in await ask(relay, "metrics"))
    (line,) = [line for line in text.splitlines() if line.startswith("jobs_total")]
    return line


async def test_a_scrape_is_the_sum_and_does_not_step_back_when_a_worker_dies(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        crew.workers[0].counted, crew.workers[1].counted = 100, 40
        assert await jobs(relay) == "jobs_total 140.0"
        crew.change(1, state=State.DOWN, pid=None, deaths=1)
        assert await jobs(relay) == "jobs_total 140.0"
        crew.workers[0].counted = 3
        crew.change(1, state=State.SERVING, pid=777)
        assert await jobs(relay) == "jobs_total 143.0"


async def test_a_scrape_has_of_a_worker_that_does_not_answer_what_it_said_last(tmp_path: Path) -> None:
    async with relayed(tmp_path) as (crew, relay):
        crew.workers[0].counted, crew.workers[1].counted = 100, 40
        await jobs(relay)
        crew.workers[1].refuses["exposition"] = CommandFailed("no", 75)
        assert await jobs(relay) == "jobs_total 140.0"


async def test_a_scrape_tells_how_the_workers_are(tmp_path: Path) -> None:
    async with relayed(tmp_path, 3) as (crew, relay):
        crew.change(2, state=State.DOWN, pid=None, deaths=5)
        text = "".join(row["piece"] for row in await ask(relay, "metrics", accept="application/openmetrics-text"))
        lines = text.splitlines()
        assert 'mta_workers{state="serving"} 2.0' in lines
        assert 'mta_workers{state="down"} 1.0' in lines
        assert "mta_worker_deaths_total 5.0" in lines
        assert lines[-1] == "# EOF"
