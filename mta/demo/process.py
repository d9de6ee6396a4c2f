"""A server as a process of its own: started from a folder, signalled, and asked as its operator would."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mta.control.client import Client
from mta.control.protocol import CommandFailed

PATIENCE = 20.0
"""Seconds that a start, a stop or a command may take; each takes a fraction of one."""


class ServerProcess:
    """`mta serve` while it is entered."""

    def __init__(self, config: Path, prefix: Sequence[str] = ()) -> None:
        """`config` is the configuration's path; `prefix` a command that runs the server, such as a tracer."""
        self.config = config
        self.log = config.parent / "server.log"
        self.status: Mapping[str, Any] = {}
        self._prefix = tuple(prefix)
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            OSError: it ended instead, with the end of its log.
        """
        command = [*self._prefix, sys.executable, "-m", "mta", "-c", str(self.config), "serve"]
        with self.log.open("ab") as stream:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=stream, stderr=stream, env={**os.environ, "PYTHONUNBUFFERED": "1"}
            )
        try:
            self.status = await self._wait_for_answer()
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> int:
        """End it with SIGTERM, by force where that takes too long; return its exit code."""
        process = self._running()
        if process.returncode is None:
            self.signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(PATIENCE):
                    await process.wait()
            except TimeoutError:
                await self.kill()
        return process.returncode if process.returncode is not None else -1

    async def kill(self) -> None:
        """End it with SIGKILL."""
        process = self._running()
        if process.returncode is None:
            process.kill()
        await process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        self._running().send_signal(number)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs. Minus a signal's number when that ended it."""
        return self._running().returncode

    def address(self, listener: str) -> tuple[str, int]:
        """Return host and port of `submission`, `submission_tls`, `submission_plain` or `http`."""
        host, _, port = self.status["listeners"][listener][0].rpartition(":")
        return host, int(port)

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run `mta` as an administrator would; return its exit code and output."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mta", "-c", str(self.config), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                output, _ = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, output.decode()

    def tail(self, lines: int = 30) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process

    async def _wait_for_answer(self) -> Mapping[str, Any]:
        client = Client(self.config.parent / "data" / "control.sock")
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await asyncio.to_thread(lambda: next(client.ask("status")))
                except CommandFailed:
                    if self._running().returncode is not None:
                        raise OSError(f"the server did not start:\n{self.tail()}") from None
                    await asyncio.sleep(0.05)
