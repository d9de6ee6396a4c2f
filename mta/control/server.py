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
from mta.errors import ConfigError, MtaError

_IDLE = 60.0
"""Seconds that a client may take over its request or over reading its answers."""

_log = logging.getLogger("mta.control")


class Commands(Protocol):
    """What can be asked for."""

    def run(self, request: Request, who: str) -> AsyncIterator[Json]:
        """Carry out a command for somebody, giving rows.

        Raises:
            CommandFailed: it cannot be; or its name is unknown.
        """
        ...


class ControlServer:
    """Listens on the control socket while it is entered."""

    def __init__(self, path: Path, commands: Commands) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # bound under another name and moved, so that the socket is never there with other rights than 0600
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        listener.bind(str(fresh))
        fresh.chmod(0o600)
        fresh.replace(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=protocol.MAX_LINE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_IDLE):
                line = await reader.readline()
            if who := _peer(writer):
                await self._answer(line, who, writer)
            else:
                writer.write(protocol.error(CommandFailed("only root and the server's own user may do this", 77)))
            async with asyncio.timeout(_IDLE):
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # a client that went away, or sent no line: nothing was done for it, or it does not care any more
        finally:
            writer.close()

    async def _answer(self, line: bytes, who: str, writer: asyncio.StreamWriter) -> None:
        try:
            request = Request.parse(line)
            async for answer in self._commands.run(request, who):
                writer.write(protocol.row(answer))
                async with asyncio.timeout(_IDLE):
                    await writer.drain()
            writer.write(protocol.done())
        except CommandFailed as failure:
            writer.write(protocol.error(failure))
        except ConfigError as error:
            writer.write(protocol.error(CommandFailed(str(error), 78)))
        except (MtaError, ValueError, KeyError, TypeError) as trouble:
            writer.write(protocol.error(CommandFailed(str(trouble) or repr(trouble), 75)))
        except (TimeoutError, ConnectionError):
            raise
        except Exception:
            _log.exception("a command failed: %r", line[:200])
            writer.write(protocol.error(CommandFailed("internal error; the server's log has the details", 70)))


def _peer(writer: asyncio.StreamWriter) -> str | None:
    """Return who is at the other end, or None when it is somebody who may do nothing."""
    credentials = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, uid, _ = struct.unpack("3i", credentials)
    return f"uid {uid}" if uid in (0, os.geteuid()) else None
