"""How long a NOOP waits while others send large messages, and what idle connections cost in memory. One worker.

    python -m bench.latency [--clients 10] [--megabytes 25] [--seconds 5] [--chunking] [--idle 500]

Ten clients log in and send 25 MB each by DATA (or BDAT), at the same time, while another connection says NOOP again and
again; they begin anew until the time is over. Printed: the NOOPs' times, the messages, and the server's highest
resident set. `--idle` opens so many connections instead, each logged in, and prints the resident set before, with
and after them.
"""

import argparse
import asyncio
import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.end_to_end import HERE, free_port, wait_for

PLAIN = base64.b64encode(b"\0u\0p").decode()
HEADER = b"From: a@bench.test\r\nTo: b@bench.test\r\nSubject: large\r\n\r\n"
LINE = b"0123456789abcdef" * 4 + b"0123456789\r\n"
PIECE = 64 * 1024
SETTLE = 2.0  # seconds after which memory is read again


@dataclass(frozen=True, slots=True)
class Server:
    """The server under measurement."""

    port: int
    pid: int

    def memory(self, field: str = "VmRSS") -> float:
        """Return its resident set, or another field of its status, in MB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    def forget_peak(self) -> None:
        """Let the highest resident set be the one of now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """Start a server that accepts and holds; end it in order."""
    with tempfile.TemporaryDirectory(prefix="mta-bench-") as folder:
        port = free_port()
        limits = "max_connections = 2000\nmax_connections_per_ip = 2000"
        environ = dict(os.environ) | {"BENCH_WORK": f"{folder}/mta", "BENCH_PORT": str(port), "BENCH_HOLD": "1"}
        with Path(folder, "server.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.serve"],
                env=environ | {"BENCH_SUBMISSION": limits},
                stdout=log,
                stderr=log,
                cwd=HERE.parent,
            )
            try:
                wait_for(port)
                yield Server(port, process.pid)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, port: int) -> "AsyncIterator[Client]":
        """Connect and hear the greeting."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        try:
            await client.hear("220")
            yield client
        finally:
            client.writer.close()

    async def hear(self, *codes: str) -> str:
        """Return the last line of a reply, which must have one of these codes."""
        while True:
            line = (await self._reader.readline()).decode()
            if line[3:4] != "-":
                break
        if not line.startswith(codes):
            raise RuntimeError(f"{line!r} where {' or '.join(codes)} should be")
        return line.rstrip()

    async def ask(self, command: bytes, code: str = "250") -> None:
        """Say a command, and read its reply."""
        self.writer.write(command + b"\r\n")
        await self.hear(code)

    async def log_in(self) -> None:
        """Greet and log in."""
        await self.ask(b"EHLO bench")
        await self.ask(b"AUTH PLAIN " + PLAIN.encode(), "235")

    async def send(self, content: bytes, *, chunking: bool) -> str:
        """Submit a message; return the reply to its end, which may be a request to try again."""
        await self.ask(b"MAIL FROM:<a@bench.test>")
        await self.ask(b"RCPT TO:<b@bench.test>")
        if chunking:
            self.writer.write(b"BDAT %d LAST\r\n" % len(content))
        else:
            await self.ask(b"DATA", "354")
        for start in range(0, len(content), PIECE):
            self.writer.write(content[start : start + PIECE])
            await self.writer.drain()
        if not chunking:
            self.writer.write(b".\r\n")
        return await self.hear("250", "4")


def ask_noop(port: int, seconds: float, apart: float = 0.002) -> list[float]:
    """Say NOOP again and again, in this process alone; return how long each took, in milliseconds."""
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        # a new connection now and then: commands without a message have a limit
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines = connection.makefile("rb")
            lines.readline()
            for _ in range(100):
                begun = time.perf_counter()
                connection.sendall(b"NOOP\r\n")
                if not lines.readline().startswith(b"250"):
                    raise RuntimeError("NOOP was refused")
                times.append((time.perf_counter() - begun) * 1000)
                time.sleep(apart)
    return times


async def send_for(port: int, options: argparse.Namespace) -> Counter[str]:
    """Let all clients send until the time is over; return how often the contents' ends were answered how."""
    body = LINE * (options.megabytes * 1_000_000 // len(LINE) - 1)
    end, replies = time.monotonic() + options.seconds, Counter[str]()

    async def client() -> None:
        async with Client.connected(port) as one:
            await one.log_in()
            while True:
                reply = await one.send(HEADER + body, chunking=options.chunking)
                replies[reply[:9]] += 1
                if time.monotonic() > end:
                    return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(options.clients):
            tasks.create_task(client())
    return replies


def show(name: str, times: list[float]) -> None:
    """Print percentiles."""
    ordered = sorted(times)
    at = {part: ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99)}
    print(f"{name}: {len(ordered)} NOOPs, p50 {at[0.5]:.2f} ms, p99 {at[0.99]:.2f} ms, max {ordered[-1]:.2f} ms")


def measure_latency(options: argparse.Namespace) -> None:
    """NOOPs alone, then beside the senders, which are a process of their own."""
    with serving() as server:
        show("alone", ask_noop(server.port, 2))
        before = server.memory()
        server.forget_peak()
        arguments = [f"--clients={options.clients}", f"--megabytes={options.megabytes}", f"--seconds={options.seconds}"]
        arguments += ["--chunking"] if options.chunking else []
        senders = subprocess.Popen(
            [sys.executable, "-m", "bench.latency", f"--send-to={server.port}", *arguments],
            stdout=subprocess.PIPE,
            cwd=HERE.parent,
            text=True,
        )
        times: list[float] = []
        while senders.poll() is None:
            times += ask_noop(server.port, 0.5)
        said = senders.stdout.read() if senders.stdout else ""
        show(f"beside {options.clients} clients with {options.megabytes} MB each", times)
        peak = server.memory("VmHWM")
        time.sleep(SETTLE)
        memory = f"resident set {before:.0f} MB before, {peak:.0f} MB at most, {server.memory():.0f} MB after"
        print(f"{said}{memory}")


async def measure_idle(options: argparse.Namespace) -> None:
    """Memory with connections that do nothing."""
    with serving() as server:
        async with Client.connected(server.port) as one:
            await one.log_in()
        before = server.memory()
        async with contextlib.AsyncExitStack() as stack:
            begun = time.perf_counter()
            for _ in range(options.idle):
                await (await stack.enter_async_context(Client.connected(server.port))).log_in()
            took = time.perf_counter() - begun
            during = server.memory()
        await asyncio.sleep(SETTLE)
        print(
            f"{options.idle} idle connections, logged in within {took:.1f} s: resident set {before:.1f} MB before, "
            f"{during:.1f} MB with them ({(during - before) * 1024 / options.idle:.1f} KiB each), "
            f"{server.memory():.1f} MB after"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--megabytes", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--chunking", action="store_true", help="BDAT instead of DATA")
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--send-to", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send_to:
        for reply, count in asyncio.run(send_for(options.send_to, options)).items():
            print(f"{count} times {reply}")
    elif options.idle:
        asyncio.run(measure_idle(options))
    else:
        measure_latency(options)


if __name__ == "__main__":
    main()
