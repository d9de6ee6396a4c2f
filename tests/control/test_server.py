"""The server's end of the control socket, over a real one."""

import asyncio
import json
import logging
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mta.control import protocol
from mta.control.server import ControlServer, may_command
from mta.errors import ConfigError
from tests.control.commands import ScriptedCommands

ME = f"uid {os.geteuid()}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def commands() -> ScriptedCommands:
    return ScriptedCommands()


@pytest.fixture
async def server(path: Path, commands: ScriptedCommands) -> AsyncIterator[ControlServer]:
    async with ControlServer(path, commands) as server:
        yield server


async def exchange(path: Path, octets: bytes, *, end: bool = False) -> list[object]:
    """Send octets, perhaps the end of them, and return the answers until the server ends them."""
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(octets)
        if end:
            writer.write_eof()
        answers = [json.loads(line) async for line in reader]
        writer.close()
        return answers


@pytest.mark.usefixtures("server")
async def test_the_socket_is_for_its_owner_alone(path: Path) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(path.parent) == ["control.sock"]


async def test_the_socket_goes_with_the_server(path: Path, commands: ScriptedCommands) -> None:
    async with ControlServer(path, commands):
        pass
    assert os.listdir(path.parent) == []


async def test_a_socket_left_behind_by_a_kill_is_replaced(path: Path, commands: ScriptedCommands) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    async with ControlServer(path, commands):
        assert await exchange(path, b'{"command": "none"}\n') == [{"done": True}]


async def test_a_path_that_no_socket_can_have_is_the_configurations_fault(
    tmp_path: Path, commands: ScriptedCommands
) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with pytest.raises(ConfigError, match="set a data_dir with a shorter path"):
        await ControlServer(folder / "control.sock", commands).__aenter__()


@pytest.mark.usefixtures("server")
async def test_a_command_learns_who_asks(path: Path, commands: ScriptedCommands) -> None:
    assert await exchange(path, b'{"command": "echo", "arguments": {"a": [1]}}\n') == [
        {"row": {"a": [1]}},
        {"done": True},
    ]
    assert commands.ran == [("echo", ME)]


@pytest.mark.parametrize(("passed_on", "who"), [(False, ME), (True, "uid 12345")])
async def test_only_what_a_supervisor_passes_on_says_itself_who_asks(
    path: Path, commands: ScriptedCommands, passed_on: bool, who: str
) -> None:
    async with ControlServer(path, commands, passed_on=passed_on):
        await exchange(path, b'{"command": "none", "who": "uid 12345"}\n')
        await exchange(path, b'{"command": "none"}\n')
    assert commands.ran == [("none", who), ("none", ME)]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("command", "text", "exit_code"),
    [
        ("nonsense", "unknown command 'nonsense'", 2),
        ("config", "mta.toml:3: hostname: is missing", 78),
        ("store", "the disk is gone", 75),
        ("bug", "internal error; the server's log has the details", 70),
    ],
)
async def test_a_failure_has_a_sentence_and_an_exit_code(path: Path, command: str, text: str, exit_code: int) -> None:
    line = json.dumps({"command": command}).encode() + b"\n"
    assert await exchange(path, line) == [{"error": text, "exit": exit_code}]


@pytest.mark.usefixtures("server")
async def test_a_mistake_of_ours_is_logged_with_its_traceback(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        await exchange(path, b'{"command": "bug"}\n')
    (record,) = caplog.records
    assert record.exc_info is not None


@pytest.mark.usefixtures("server")
async def test_rows_are_sent_as_they_come(path: Path, commands: ScriptedCommands) -> None:
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b'{"command": "stream"}\n')
        assert json.loads(await reader.readline()) == {"row": {"number": 1}}
        commands.go_on.set()
        assert json.loads(await reader.readline()) == {"row": {"number": 2}}
        assert json.loads(await reader.readline()) == {"done": True}
        writer.close()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("octets", [b"\xff\n", b"GET / HTTP/1.1\n", b'{"command": "ec', b"[1]\n", b"\n"])
async def test_what_is_no_request_is_refused_and_runs_nothing(
    path: Path, commands: ScriptedCommands, octets: bytes
) -> None:
    (answer,) = await exchange(path, octets, end=True)
    assert isinstance(answer, dict)
    assert answer["exit"] == 65
    assert commands.ran == []


@pytest.mark.usefixtures("server")
async def test_a_line_without_end_is_refused_in_bounded_memory(path: Path, commands: ScriptedCommands) -> None:
    assert await exchange(path, b"x" * (4 * protocol.MAX_LINE), end=True) == [
        {"error": f"a request of more than {protocol.MAX_LINE} octets", "exit": 65}
    ]
    assert commands.ran == []


@pytest.mark.usefixtures("server")
async def test_a_connection_that_says_nothing_runs_nothing(path: Path, commands: ScriptedCommands) -> None:
    assert await exchange(path, b"", end=True) == []
    assert commands.ran == []


async def test_half_a_request_is_not_waited_for_for_ever(path: Path, commands: ScriptedCommands) -> None:
    async with ControlServer(path, commands, idle=0.05):
        assert await exchange(path, b'{"command": "ec') == []
    assert commands.ran == []


async def test_a_client_that_goes_away_or_stops_reading_ends_its_command_only(
    path: Path, commands: ScriptedCommands, caplog: pytest.LogCaptureFixture
) -> None:
    async with ControlServer(path, commands, idle=0.2):
        _, leaving = await asyncio.open_unix_connection(str(path))
        leaving.write(b'{"command": "big"}\n')
        await leaving.drain()
        leaving.transport.abort()
        _, deaf = await asyncio.open_unix_connection(str(path), limit=1)
        deaf.write(b'{"command": "big"}\n')
        assert await exchange(path, b'{"command": "none"}\n') == [{"done": True}]
        deaf.close()
    assert caplog.records == []


async def test_a_command_that_does_not_end_does_not_keep_the_server(path: Path, commands: ScriptedCommands) -> None:
    async with asyncio.timeout(30):
        async with ControlServer(path, commands, at_the_end=0.05):
            _, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b'{"command": "forever"}\n')
            await commands.began.wait()
        writer.close()
    assert commands.was_cancelled


@pytest.mark.parametrize(
    ("uid", "own_uid", "allowed"), [(0, 1000, True), (1000, 1000, True), (1001, 1000, False), (65534, 0, False)]
)
def test_root_and_the_servers_user_may_command(uid: int, own_uid: int, allowed: bool) -> None:
    assert may_command(uid, own_uid) is allowed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as somebody else")
async def test_somebody_else_is_refused_even_where_the_sockets_rights_let_him_in(commands: ScriptedCommands) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "control.sock"
        async with ControlServer(path, commands):
            for open_to_all in (folder, path):
                os.chmod(open_to_all, 0o777)
            client = _connected_as(65534, path)
            reader, writer = await asyncio.open_connection(sock=client)
            writer.write(b'{"command": "echo"}\n')
            assert json.loads(await reader.readline())["exit"] == 77
            writer.close()
    assert commands.ran == []


def _connected_as(uid: int, path: Path) -> socket.socket:
    # the kernel notes the process's user at the moment of connecting
    client = socket.socket(socket.AF_UNIX)
    os.seteuid(uid)
    try:
        client.connect(str(path))
    finally:
        os.seteuid(0)
    client.setblocking(False)
    return client
