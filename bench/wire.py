"""Messages per second that one process hands over by SMTP, by what the host offers and how far away it is.

    python -m bench.wire [--count 2000] [--size 4096] [--connections 20] [--domains 200]

Only delivery is measured, from a letter to its reply: no store, no queue, no signing, no TLS. The hosts are a process
of their own whose replies come late by the round trip that is played; commands that came in one flight are answered in
one. The last rows have as many domains as told, each with a host of its own, and letters to them in turn.
"""

import argparse
import asyncio
import hashlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import cast

import uvloop

from mta.clock import SystemClock
from mta.delivery.limits import Families, TransportSettings
from mta.delivery.resolver import MxAnswer
from mta.delivery.transport import SmtpTransport
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import Recipient
from mta.mail.outcome import Delivered
from mta.queue.model import Content, Message, Stream
from mta.queue.seams import Host, Letter, Site

STEPWISE = ("8BITMIME",)
PIPELINING = ("PIPELINING", *STEPWISE)
CHUNKING = ("CHUNKING", *PIPELINING)
HEADER = b"From: a@bench.test\r\nTo: b@bench.test\r\nSubject: wire\r\nMessage-ID: <wire@bench.test>\r\n"
NETWORK = ip_network("127.0.0.0/8")
SLOWEST = 60.0  # seconds that one row should not take much longer than


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to measure."""

    name: str
    offers: tuple[str, ...]
    delay: float
    connections: int
    domains: int = 1


class _Host(asyncio.Protocol):
    """Answers everything positively, as late as it is told."""

    def __init__(self, offers: tuple[str, ...], delay: float) -> None:
        self._ehlo = "".join(f"250-{each}\r\n" for each in offers).encode()
        self._delay = delay
        self._buffer = b""
        self._in_data = False
        self._chunk: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no class of asyncio's
        self._say(b"220 bench\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer all that is whole by now."""
        self._buffer += data
        said = []
        while (reply := self._next()) is not None:
            said.append(reply)
        self._say(b"".join(said))

    def _next(self) -> bytes | None:
        if self._chunk is not None:
            if len(self._buffer) < self._chunk:
                return None
            self._buffer, self._chunk = self._buffer[self._chunk :], None
            return b"250 2.0.0 Ok\r\n"
        if self._in_data:
            _, dot, rest = self._buffer.partition(b"\r\n.\r\n")
            if not dot:
                return None
            self._buffer, self._in_data = rest, False
            return b"250 2.0.0 Ok\r\n"
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return None
        self._buffer = rest
        match line[:4].upper():
            case b"EHLO":
                return b"250-bench\r\n" + self._ehlo + b"250 ENHANCEDSTATUSCODES\r\n"
            case b"DATA":
                self._in_data = True
                return b"354 Go on\r\n"
            case b"BDAT":
                self._chunk = int(line.split()[1])
                return self._next() if len(self._buffer) >= self._chunk else b""
            case b"QUIT":
                return b"221 2.0.0 Bye\r\n"
            case _:
                return b"250 2.0.0 Ok\r\n"

    def _say(self, octets: bytes) -> None:
        if octets and self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._write, octets)
        elif octets:
            self._write(octets)

    def _write(self, octets: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(octets)


def address(number: int) -> str:
    """Return the address of a domain's host."""
    return f"127.0.{1 + number // 250}.{1 + number % 250}"


def serve(row: Row, pipe: multiprocessing.connection.Connection) -> None:
    """Be all hosts of a row until ended; send their port."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        port = 0
        for number in range(row.domains):
            server = await loop.create_server(lambda: _Host(row.offers, row.delay), address(number), port, backlog=512)
            port = server.sockets[0].getsockname()[1]
        pipe.send(port)
        await asyncio.Event().wait()

    uvloop.run(run())


class _Names:
    """Knows the hosts."""

    async def mx(self, domain: str) -> MxAnswer:
        """Return no record: sites are given here."""
        return MxAnswer()

    async def addresses(self, host: str, families: Families) -> tuple[str, ...]:
        """Return a host's only address."""
        return (address(int(host.split(".")[1])),)


def letters(row: Row, size: int) -> Sequence[Letter]:
    """Return a letter for each domain."""
    body = (b"0123456789abcdef" * 4 + b"\r\n") * max(1, size // 66)
    message = Message(
        id="wire",
        accepted_at=datetime.now(UTC),
        account="bench",
        stream=Stream.TRANSACTIONAL,
        reverse_path=ReversePath(Mailbox("a", "bench.test")),
        from_domain="bench.test",
        message_id="<wire@bench.test>",
        size=len(HEADER) + 2 + len(body),
        checksum=b"",
        body_hash=hashlib.sha256(body).digest(),
    )
    signature = b"DKIM-Signature: v=1; a=rsa-sha256; b=" + b"x" * 344 + b"\r\n"
    return [
        Letter(
            message,
            Mailbox("b1", "bounces.bench.test"),
            Recipient(Mailbox("u", f"d{number}.bench.test")),
            signature,
            Content(HEADER, (body,)),
        )
        for number in range(row.domains)
    ]


async def _ours() -> bool:
    return True


async def hand_over(row: Row, port: int, count: int, size: int) -> tuple[int, float, float]:
    """Hand letters over; return how many in which time, in seconds, and the CPU that took."""
    settings = TransportSettings("bench.test", allow_networks=(NETWORK,))
    transport = SmtpTransport(settings, _Names(), SystemClock())
    sites = [Site(f"s{number}", (Host(f"mx.{number}.bench.test", port),)) for number in range(row.domains)]
    written = letters(row, size)
    turns = itertools.count()
    end = time.monotonic() + SLOWEST
    done = 0

    async def worker() -> None:
        nonlocal done
        while (turn := next(turns)) < count and time.monotonic() < end:
            number = turn % row.domains
            outcome = await transport.deliver(written[number], sites[number], _ours)
            assert isinstance(outcome, Delivered), outcome
            done += 1

    began, cpu = time.monotonic(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(row.connections):
            tasks.create_task(worker())
    took, spent = time.monotonic() - began, time.process_time() - cpu
    await transport.close()
    return done, took, spent


def measure(row: Row, count: int, size: int) -> None:
    """Measure one row and print it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    hosts = context.Process(target=serve, args=(row, theirs))
    hosts.start()
    try:
        port = int(ours.recv())
        done, took, cpu = uvloop.run(hand_over(row, port, count, size))
    finally:
        hosts.terminate()
        hosts.join()
    print(
        f"{row.name:<28} {row.delay * 1000:>5.0f} {row.connections:>5} {row.domains:>7} "
        f"{done / took:>9.0f} {1000 * cpu / done:>10.2f}",
        flush=True,
    )


def rows(connections: int, domains: int) -> list[Row]:
    """Return all that is measured."""
    kinds = {"step by step": STEPWISE, "PIPELINING": PIPELINING, "PIPELINING and CHUNKING": CHUNKING}
    found = [
        Row(name, offers, delay, at_once)
        for delay in (0.0, 0.05)
        for at_once in (1, connections)
        for name, offers in kinds.items()
    ]
    return found + [
        Row(name, offers, delay, connections, domains) for delay in (0.0, 0.05) for name, offers in kinds.items()
    ]


def main() -> None:
    """Measure all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--domains", type=int, default=200)
    given = parser.parse_args()
    print(f"{given.count} messages of {given.size} octets, {os.cpu_count()} cores", flush=True)
    print(f"{'host offers':<28} {'ms':>5} {'conns':>5} {'domains':>7} {'msgs/s':>9} {'cpu ms/msg':>10}", flush=True)
    for row in rows(given.connections, given.domains):
        # one connection far away is slow: no need to wait for all
        count = min(given.count, 200) if row.delay and row.connections == 1 else given.count
        measure(row, count, given.size)


if __name__ == "__main__":
    main()
