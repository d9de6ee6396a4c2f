"""Two workers, a slow sink, and thousands of deliveries that either may take: none is ever attempted by both."""

import asyncio
import os
import random
import re
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mta.control.client import Client
from mta.control.protocol import Json
from mta.demo.listener import listening
from tests.scenarios.house import House, message, open_house

DELIVERIES = 10_000 if os.environ.get("MTA_SOAK") else 2_000
"""The long form is for `make soak`."""
AT_ONCE = 500
"""Recipients of a message."""
SITES = 16
SLOWEST = 0.2
"""Seconds that the sink takes over each step in which an attempt is under way."""
PATIENCE = 120.0 if os.environ.get("MTA_SOAK") else 60.0
_RECIPIENT = re.compile(rb"RCPT TO:<([^>]*)>", re.IGNORECASE)


@dataclass
class JealousSink:
    """Takes mail slowly, and notes every recipient that is named on one connection while another is about it."""

    dice: random.Random
    under_way: dict[bytes, int] = field(default_factory=dict)
    """The connection that is about a recipient, from RCPT to the reply to the final dot."""
    taken: Counter[bytes] = field(default_factory=Counter)
    contested: list[bytes] = field(default_factory=list)
    connections: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak with one client."""
        self.connections += 1
        me, recipient = self.connections, b""
        writer.write(b"220 slow.example\r\n")
        try:
            while line := await reader.readline():
                match line[:4].upper():
                    case b"EHLO":
                        writer.write(b"250-slow.example\r\n250-8BITMIME\r\n250 PIPELINING\r\n")
                    case b"RCPT":
                        found = _RECIPIENT.match(line)
                        assert found is not None, line
                        recipient = found[1]
                        if self.under_way.setdefault(recipient, me) != me:
                            self.contested.append(recipient)
                        await asyncio.sleep(self.dice.uniform(0, SLOWEST))
                        writer.write(b"250 2.1.5 Ok\r\n")
                    case b"DATA":
                        writer.write(b"354 Go on\r\n")
                        await reader.readuntil(b"\r\n.\r\n")
                        await asyncio.sleep(self.dice.uniform(0, SLOWEST))
                        self.taken[recipient] += 1
                        del self.under_way[recipient]
                        writer.write(b"250 2.0.0 Ok\r\n")
                        if len(self.taken) == DELIVERIES:
                            self.complete.set()
                    case b"QUIT":
                        writer.write(b"221 2.0.0 Bye\r\n")
                        return
                    case _:
                        writer.write(b"250 2.0.0 Ok\r\n")
                await writer.drain()
        finally:
            if self.under_way.get(recipient) == me:
                del self.under_way[recipient]


@pytest.mark.slow
async def test_no_delivery_is_attempted_by_two_workers_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    sink = JealousSink(random.Random(seed))
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(listening(sink.serve, "127.0.0.1", 0)) for _ in range(SITES)]
        routes = "".join(
            f'[[route]]\ndomain = "d{site}.example"\nrelay = "smtp://127.0.0.1:{port}"\n'
            for site, port in enumerate(ports)
        )
        house = await stack.enter_async_context(open_house(tmp_path / "house", workers=2, more=routes))
        for first in range(0, DELIVERIES, AT_ONCE):
            recipients = [f"r{number}@d{number % SITES}.example" for number in range(first, first + AT_ONCE)]
            await house.submit(*recipients, content=message((recipients[0],)))
            # so that the one which did not accept it does not find out by itself seconds later
            for number in (1, 2):
                await asyncio.to_thread(_asked, house, number, "news")
        try:
            async with asyncio.timeout(PATIENCE):
                await sink.complete.wait()
        except TimeoutError:
            raise AssertionError(f"{len(sink.taken)} of {DELIVERIES} arrived:\n{house.server.tail()}") from None
        attempts = [await asyncio.to_thread(_attempts, house, number) for number in (1, 2)]
        with capsys.disabled():
            print(
                f"\n{DELIVERIES} deliveries to {SITES} slow sites (seed {seed}) by two workers: "
                f"{attempts[0]:.0f} and {attempts[1]:.0f} attempts, contested {len(sink.contested)}"
            )
        assert sink.contested == []
        assert [recipient for recipient, times in sink.taken.items() if times > 1] == []
        assert min(attempts) > DELIVERIES / 100, "one worker did it all: nothing was shown"


def _attempts(house: House, number: int) -> float:
    """Return how many attempts a worker has counted."""
    lines = "".join(row["piece"] for row in _asked(house, number, "exposition")).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("mta_delivery_attempts_total"))


def _asked(house: House, number: int, command: str) -> list[Json]:
    return list(Client(house.folder / "data" / f"w{number}.sock").ask(command))
