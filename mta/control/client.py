"""The `mta` command's end of the control socket. Plain blocking calls: a command does one thing and ends."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mta.control import protocol
from mta.control.protocol import CommandFailed, Json, Request

_TIMEOUT = 120.0


class Client:
    """Asks the server behind a control socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, command: str, **arguments: Any) -> Iterator[Json]:
        """Carry out a command in the server, and give its rows as they come.

        Raises:
            CommandFailed: no server runs there (exit code 69), or it says that the command cannot be carried out.
        """
        with self._connect() as connection:
            connection.sendall(Request(command, arguments).dump())
            with connection.makefile("rb") as lines:
                while line := lines.readline(protocol.MAX_LINE):
                    answer = json.loads(line)
                    if "row" in answer:
                        yield answer["row"]
                    elif "error" in answer:
                        raise CommandFailed(answer["error"], answer["exit"])
                    else:
                        return
        raise CommandFailed("the server closed the connection in the middle of its answer; see its log", 75)

    def is_served(self) -> bool:
        """Return whether a server answers at the socket."""
        try:
            self._connect().close()
        except CommandFailed:
            return False
        return True

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_TIMEOUT)
        try:
            connection.connect(str(self._path))
        except OSError as trouble:
            connection.close()
            if isinstance(trouble, PermissionError):
                raise CommandFailed(
                    f"{self._path}: permission denied; run this as root or the server's user", 77
                ) from None
            raise CommandFailed(f"no server answers at {self._path}; start it with: mta serve", 69) from None
        return connection
