"""The `mta` command's end of the control socket. Plain blocking calls: a command does one thing and ends."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mta.control import protocol
from mta.control.protocol import CommandFailed, Json, Request

_PATIENCE = 120.0


class Client:
    """Asks the server behind a control socket."""

    def __init__(self, path: Path, patience: float = _PATIENCE) -> None:
        """`patience` is how many seconds the server may take over each row."""
        self._path = path
        self._patience = patience

    def ask(self, command: str, **arguments: Any) -> Iterator[Json]:
        """Carry out a command in the server, and give its rows as they come.

        Raises:
            CommandFailed: no server runs there (exit code 69), or it says that the command cannot be carried out.
        """
        request = Request(command, arguments).dump()
        if len(request) > protocol.MAX_LINE:
            raise CommandFailed(f"the arguments are longer than {protocol.MAX_LINE} octets", 65)
        with self._connect() as connection:
            try:
                connection.sendall(request)
                with connection.makefile("rb") as lines:
                    yield from self._rows(lines.readline)
            except TimeoutError:
                late = f"the server has not answered for {self._patience:g} s; it may still carry this out: see its log"
                raise CommandFailed(late, 75) from None
            except OSError as trouble:
                raise CommandFailed(f"{self._path}: {trouble.strerror or trouble}; see the server's log", 75) from None

    def one(self, command: str, **arguments: Any) -> Json:
        """Carry out a command that answers one row, and return it.

        Raises:
            CommandFailed: as `ask`.
        """
        rows = list(self.ask(command, **arguments))
        if len(rows) != 1:
            raise _misunderstood()
        return rows[0]

    def _rows(self, readline: Callable[[int], bytes]) -> Iterator[Json]:
        while line := readline(protocol.MAX_LINE):
            answer = _parsed(line)
            if "row" in answer:
                yield answer["row"]
            elif "error" in answer:
                raise CommandFailed(str(answer["error"]), int(answer["exit"]))
            else:
                return
        raise CommandFailed("the server closed the connection in the middle of its answer; see its log", 75)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._patience)
        try:
            connection.connect(str(self._path))
        except PermissionError:
            connection.close()
            raise CommandFailed(f"{self._path}: permission denied; run this as root or the server's user", 77) from None
        except OSError:
            connection.close()
            raise CommandFailed(f"no server answers at {self._path}; start it with: mta serve", 69) from None
        return connection


def _parsed(line: bytes) -> Json:
    try:
        answer = json.loads(line)
    except ValueError:
        raise _misunderstood() from None
    if not isinstance(answer, dict):
        raise _misunderstood()
    return answer


def _misunderstood() -> CommandFailed:
    return CommandFailed("the server's answer makes no sense; it may be of another version: restart it", 75)
