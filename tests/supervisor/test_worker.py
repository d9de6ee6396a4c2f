"""What a worker does for its supervisor and the other workers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mta.control.protocol import CommandFailed, Json, Request
from mta.control.server import ControlServer
from mta.supervisor.relay import PIECE
from mta.supervisor.worker import SharedScrape, WorkerCommands
from tests.control.commands import ScriptedCommands


class FakeScrape:
    """One worker's own metrics."""

    def __init__(self, text: str) -> None:
        self.text = text

    def content_type(self, accept: str) -> str:
        return f"text for {accept}"

    async def expose(self, accept: str) -> bytes:
        return self.text.encode()


class FakeFellow:
    """A worker that counts the news it heard."""

    def __init__(self) -> None:
        self.heard = 0

    async def hear_news(self) -> None:
        self.heard += 1


class FakeSupervisor:
    """Answers `metrics` with the Accept field it was asked with, or not at all."""

    is_frozen = False

    async def run(self, request: Request, who: str) -> AsyncIterator[Json]:
        if self.is_frozen:
            await asyncio.Event().wait()
        yield {"piece": f"{request.command} "}
        yield {"piece": request.arguments["accept"]}


async def run(commands: WorkerCommands, command: str) -> list[Json]:
    return [row async for row in commands.run(Request(command, {"a": 1}), "uid 7")]


async def test_news_is_heard_and_answered_with_nothing() -> None:
    fellow = FakeFellow()
    assert await run(WorkerCommands(ScriptedCommands(), fellow, FakeScrape("")), "news") == []
    assert fellow.heard == 1


async def test_a_long_scrape_comes_in_pieces() -> None:
    text = "é" * (2 * PIECE + 1)
    rows = await run(WorkerCommands(ScriptedCommands(), FakeFellow(), FakeScrape(text)), "exposition")
    assert len(rows) == 3
    assert "".join(row["piece"] for row in rows) == text


async def test_all_else_is_as_in_any_server() -> None:
    commands = ScriptedCommands()
    under_supervision = WorkerCommands(commands, FakeFellow(), FakeScrape(""))
    assert await run(under_supervision, "echo") == [{"a": 1}]
    assert commands.ran == [("echo", "uid 7")]
    with pytest.raises(CommandFailed, match="unknown command"):
        await run(under_supervision, "dance")


async def test_a_scrape_is_answered_with_what_the_supervisor_says(tmp_path: Path) -> None:
    async with ControlServer(tmp_path / "control.sock", FakeSupervisor()):
        scrape = SharedScrape(FakeScrape("own"), tmp_path / "control.sock")
        assert await scrape.expose("text/plain") == b"metrics text/plain"
        assert scrape.content_type("text/plain") == "text for text/plain"


async def test_without_a_supervisor_there_is_no_sum(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="could not be added up: nobody answers"):
        await SharedScrape(FakeScrape("own"), tmp_path / "control.sock").expose("text/plain")


async def test_a_supervisor_that_stands_still_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    supervisor = FakeSupervisor()
    supervisor.is_frozen = True
    async with ControlServer(tmp_path / "control.sock", supervisor, at_the_end=0.0):
        scrape = SharedScrape(FakeScrape("own"), tmp_path / "control.sock", timedelta(milliseconds=50))
        with pytest.raises(TimeoutError):
            await scrape.expose("text/plain")
