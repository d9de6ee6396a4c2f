"""The command's end of the control socket, against servers that misbehave."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mta.control import protocol
from mta.control.client import Client
from mta.control.protocol import CommandFailed
from mta.control.server import ControlServer
from tests.control.commands import ScriptedCommands


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@contextmanager
def server_that(path: Path, answers: Callable[[socket.socket], None]) -> Iterator[None]:
    """One connection, answered by a function."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answers(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join(timeout=10)


async def test_rows_come_from_the_server(path: Path) -> None:
    async with ControlServer(path, ScriptedCommands()):
        assert await asyncio.to_thread(Client(path).one, "echo", account="app") == {"account": "app"}


async def test_the_servers_refusal_keeps_its_exit_code(path: Path) -> None:
    async with ControlServer(path, ScriptedCommands()):
        with pytest.raises(CommandFailed) as failed:
            await asyncio.to_thread(Client(path).one, "config")
    assert (failed.value.text, failed.value.exit_code) == ("mta.toml:3: hostname: is missing", 78)


@pytest.mark.parametrize("left_behind", [False, True])
def test_without_a_server_it_says_how_to_start_one(path: Path, left_behind: bool) -> None:
    if left_behind:
        with socket.socket(socket.AF_UNIX) as once:
            once.bind(str(path))
    with pytest.raises(CommandFailed, match=r"no server answers at .*; start it with: mta serve") as failed:
        Client(path).one("status")
    assert failed.value.exit_code == 69


def test_a_path_that_no_socket_can_have_has_no_server(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as failed:
        Client(tmp_path / ("x" * 200)).one("status")
    assert failed.value.exit_code == 69


def closes_at_once(connection: socket.socket) -> None:
    connection.recv(10)


def stops_in_the_middle(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b'{"row": {}}\n')


def talks_nonsense(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"220 smtp.example.com\r\n")


def sends_a_list(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"[1]\n")


def sends_a_line_without_end(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b'{"row": "' + b"x" * protocol.MAX_LINE)


def answers_nothing(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.recv(1000)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (closes_at_once, "see .* log"),
        (stops_in_the_middle, "in the middle of its answer"),
        (talks_nonsense, "makes no sense"),
        (sends_a_list, "makes no sense"),
        (sends_a_line_without_end, "makes no sense"),
        (answers_nothing, "has not answered for 0.2 s"),
    ],
)
def test_whatever_the_server_does_it_is_told_as_try_again(
    path: Path, answers: Callable[[socket.socket], None], said: str
) -> None:
    with server_that(path, answers), pytest.raises(CommandFailed, match=said) as failed:
        Client(path, patience=0.2).one("status")
    assert failed.value.exit_code == 75


def test_arguments_longer_than_a_line_may_be_are_not_sent(path: Path) -> None:
    with pytest.raises(CommandFailed, match="longer than") as failed:
        Client(path).one("echo", text="x" * protocol.MAX_LINE)
    assert failed.value.exit_code == 65


async def test_a_command_that_answers_no_row_is_not_taken_for_one_that_does(path: Path) -> None:
    async with ControlServer(path, ScriptedCommands()):
        with pytest.raises(CommandFailed, match="makes no sense"):
            await asyncio.to_thread(Client(path).one, "none")
