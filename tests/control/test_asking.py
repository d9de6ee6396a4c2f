"""One process of ours asks another over its control socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from mta.control.asking import ask
from mta.control.protocol import CommandFailed, Json, Request
from mta.control.server import ControlServer
from tests.control.commands import ScriptedCommands

PATIENCE = timedelta(seconds=30)


async def rows(path: Path, command: str, patience: timedelta = PATIENCE, **arguments: object) -> list[Json]:
    return [row async for row in ask(path, Request(command, arguments), patience)]


@asynccontextmanager
async def saying(path: Path, octets: bytes) -> AsyncIterator[None]:
    """Let somebody listen who reads a line, says something, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(octets)
        writer.close()

    async with await asyncio.start_unix_server(serve, str(path)):
        yield


async def test_rows_come_as_they_are_given(tmp_path: Path) -> None:
    commands = ScriptedCommands()
    async with ControlServer(tmp_path / "x.sock", commands):
        seen = []
        async for row in ask(tmp_path / "x.sock", Request("stream", {}), PATIENCE):
            seen.append(row)
            commands.go_on.set()
    assert seen == [{"number": 1}, {"number": 2}]


async def test_a_refusal_is_the_one_that_was_given(tmp_path: Path) -> None:
    async with ControlServer(tmp_path / "x.sock", ScriptedCommands()):
        with pytest.raises(CommandFailed, match=r"mta\.toml:3: hostname") as refused:
            await rows(tmp_path / "x.sock", "config")
    assert refused.value.exit_code == 78


async def test_where_nobody_listens_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="nobody answers at ") as refused:
        await rows(tmp_path / "x.sock", "status")
    assert refused.value.exit_code == 75


async def test_who_does_not_answer_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async with ControlServer(tmp_path / "x.sock", ScriptedCommands(), at_the_end=0.0):
        with pytest.raises(CommandFailed, match="it may still be carried out"):
            await rows(tmp_path / "x.sock", "forever", timedelta(milliseconds=50))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "closed in the middle"),
        (b'{"row": {}}\n', "closed in the middle"),
        (b"[]\n", "closed in the middle"),
        (b"what?\n", "makes no sense"),
        (b"x" * 3_000_000, "makes no sense"),
    ],
)
async def test_an_answer_that_is_none_is_an_error(tmp_path: Path, said: bytes, told: str) -> None:
    async with saying(tmp_path / "x.sock", said):
        with pytest.raises(CommandFailed, match=told):
            await rows(tmp_path / "x.sock", "status")
