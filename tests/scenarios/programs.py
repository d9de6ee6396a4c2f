"""Programs of others, run to their end or beside a scenario; and what to do where a scenario needs root."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 30.0
"""Seconds that a program may take."""
UNPACKED = Path(os.environ.get("MTA_PEERS", "/opt/mta-peers"))
"""Where Debian packages are unpacked that conflict with others."""
# servers stand where the PATH of an ordinary user does not lead
_PATH = os.pathsep.join(
    (os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", f"{UNPACKED}/usr/sbin")
)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a program left."""

    code: int
    output: str
    """Of both streams."""


async def run(*command: str | Path, stdin: bytes = b"", patience: float = PATIENCE) -> Ended:
    """Run a program to its end, which may take `patience`, in seconds."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PATH": _PATH},
    )
    try:
        async with asyncio.timeout(patience):
            output, _ = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode or 0, output.decode("utf-8", "replace"))


@asynccontextmanager
async def started(command: Sequence[str | Path], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program that stays in the foreground while this is entered, and end it with its children."""
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, "PATH": _PATH},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            pass  # by force, then
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def need_root(why: str) -> None:
    """Skip the test where it is not run by root; fail it instead where all peers are required."""
    if os.geteuid() == 0:
        return
    if os.environ.get("MTA_REQUIRE_PEERS") == "1":
        pytest.fail(f"{why}: run the tests as root (MTA_REQUIRE_PEERS=1)", pytrace=False)
    pytest.skip(f"{why}: run the tests as root")


def free_port() -> int:
    """Return a port of loopback that was free a moment ago, for programs that cannot choose one and tell."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
