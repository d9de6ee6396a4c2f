"""The running server's end of the control socket: 0600, and the peer must be root or the server's own user."""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mta.control import protocol
from mta.control.protocol import CommandFailed, Json, Request
from mta.errors import ConfigError, MtaError, Problem

_IDLE = 60.0
"""Seconds that a client may take over its request or over reading its answers."""
_AT_THE_END = 5.0
"""Seconds that commands under way may take when the server stops."""
_LONGEST = 107

_log = logging.getLogger(__name__)


class Commands(Protocol):
    """What can be asked for."""

    def run(self, request: Request, who: str) -> AsyncIterator[Json]:
        """Carry out a command for somebody, giving rows.

        Raises:
            CommandFailed: it cannot be; or its name is unknown.
        """
        ...


class ControlServer:
    """Listens on the control socket while it is entered. That it is the only one is left to the lock.

    Raises:
        ConfigError: on entering, when there can be no socket of that name.
    """

    def __init__(
        self,
        path: Path,
        commands: Commands,
        idle: float = _IDLE,
        at_the_end: float = _AT_THE_END,
        *,
        passed_on: bool = False,
    ) -> None:
        """In seconds: `idle` is how long a client may take over its request and over reading a row, `at_the_end` how
        long commands under way may take when the server stops. `passed_on`: who asks is what the request says, which
        came through a supervisor; whoever may speak here at all may do everything anyway.
        """
        self._path = path
        self._commands = commands
        self._idle = idle
        self._at_the_end = at_the_end
        self._passed_on = passed_on
        self._server: asyncio.Server | None = None
        self._tasks = asyncio.TaskGroup()
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        listener = _bound(self._path)
        await self._tasks.__aenter__()
        self._server = await asyncio.start_unix_server(self._begin, sock=listener, limit=protocol.MAX_LINE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        if self._serving:
            _, late = await asyncio.wait(self._serving, timeout=self._at_the_end)
            for task in late:
                task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._tasks.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (TimeoutError, ConnectionError):
            pass  # a client that went away, or waits for nothing: it does not care any more
        except Exception:  # one client's connection ends nothing else
            _log.exception("a connection to the control socket failed")
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._idle):
                line = await reader.readline()
        except ValueError:  # asyncio's word for a line over the limit
            failure = CommandFailed(f"a request of more than {protocol.MAX_LINE} octets", 65)
            await self._refuse_and_read_on(failure, reader, writer)
            return
        if not line:
            return
        if who := _peer(writer):
            await self._answer(line, who, writer)
        else:
            writer.write(protocol.error(CommandFailed("only root and the server's own user may do this", 77)))
        await self._drain(writer)

    async def _answer(self, line: bytes, who: str, writer: asyncio.StreamWriter) -> None:
        try:
            request = Request.parse(line)
        except ValueError as error:
            writer.write(protocol.error(CommandFailed(str(error), 65)))
            return
        if self._passed_on and request.who:
            who = request.who
        try:
            async for answer in self._commands.run(request, who):
                writer.write(protocol.row(answer))
                await self._drain(writer)
            writer.write(protocol.done())
        except CommandFailed as failure:
            writer.write(protocol.error(failure))
        except ConfigError as error:
            writer.write(protocol.error(CommandFailed(str(error), 78)))
        except MtaError as trouble:
            writer.write(protocol.error(CommandFailed(str(trouble), 75)))
        except (TimeoutError, ConnectionError):
            raise
        except Exception:
            _log.exception("the command %r failed", request.command)
            writer.write(protocol.error(CommandFailed("internal error; the server's log has the details", 70)))

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._idle):
            await writer.drain()

    async def _refuse_and_read_on(
        self, failure: CommandFailed, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # closing with unread octets would take the answer back
        writer.write(protocol.error(failure))
        writer.write_eof()
        async with asyncio.timeout(self._idle):
            while await reader.read(65536):
                pass


def may_command(uid: int, own_uid: int) -> bool:
    """Return whether a user may command a server that runs as `own_uid`."""
    return uid in (0, own_uid)


def _peer(writer: asyncio.StreamWriter) -> str | None:
    """Return who is at the other end, or None when it is somebody who may do nothing."""
    credentials = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, uid, _ = struct.unpack("3i", credentials)
    return f"uid {uid}" if may_command(uid, os.geteuid()) else None


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # bound under another name and moved, so that the socket is never there with other rights than 0600; the name is
    # not longer than the other one, since that of a UNIX socket has 107 octets at most
    fresh = path.with_name(f".{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        listener.bind(str(fresh))
        fresh.chmod(0o600)
        fresh.replace(path)
    except OSError as error:
        listener.close()
        too_long = len(os.fsencode(path)) > _LONGEST
        remedy = "set a data_dir with a shorter path" if too_long else "check who owns data_dir"
        raise ConfigError(
            Problem("", None, "data_dir", f"there can be no control socket {path}: {error.strerror or error}", remedy)
        ) from None
    return listener
