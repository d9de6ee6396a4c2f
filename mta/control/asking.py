"""A server's end of another process's control socket: what `client` is for commands, inside an event loop."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

from mta.control import protocol
from mta.control.protocol import CommandFailed, Json, Request

EX_TEMPFAIL = 75


async def ask(path: Path, request: Request, patience: timedelta) -> AsyncGenerator[Json, None]:
    """Have a command carried out by whoever listens at a control socket, and give its rows as they come.

    Args:
        path: The socket.
        request: What is wanted.
        patience: How long each row may take.

    Raises:
        CommandFailed: nobody listens there, or it says that the command cannot be carried out.
    """
    try:
        async with asyncio.timeout(patience.total_seconds()):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=2 * protocol.MAX_LINE)
    except OSError as error:  # a TimeoutError is one
        raise CommandFailed(f"nobody answers at {path}: {error.strerror or 'in time'}", EX_TEMPFAIL) from None
    try:
        writer.write(request.dump())
        while True:
            answer = await _read(path, reader, patience)
            if "row" in answer:
                yield answer["row"]
            elif "error" in answer:
                raise CommandFailed(str(answer["error"]), int(answer["exit"]))
            else:
                return
    finally:
        writer.close()


async def _read(path: Path, reader: asyncio.StreamReader, patience: timedelta) -> Json:
    try:
        async with asyncio.timeout(patience.total_seconds()):
            line = await reader.readline()
        answer = json.loads(line) if line else None
    except TimeoutError:
        late = f"no answer at {path} for {patience.total_seconds():g} s; it may still be carried out: see the log"
        raise CommandFailed(late, EX_TEMPFAIL) from None
    except OSError as trouble:
        raise CommandFailed(f"{path}: {trouble.strerror or trouble}; see the log", EX_TEMPFAIL) from None
    except ValueError:
        raise CommandFailed(f"the answer at {path} makes no sense; see the log", EX_TEMPFAIL) from None
    if not isinstance(answer, dict):
        raise CommandFailed(f"the connection to {path} was closed in the middle of an answer; see the log", EX_TEMPFAIL)
    return answer
