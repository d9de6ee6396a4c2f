"""Fairness through a whole server: what waits for one account, or one stream, does not delay another's."""

import asyncio
import smtplib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.scenarios.conftest import Tell
from tests.scenarios.house import SENDER, House, message, open_house, send
from tests.scenarios.sinks import Patience, Sink, Step

SITES = 4
WAITING = 2000
AT_ONCE = 1000
"""Recipients of a message."""
LETTERS = 10
ENOUGH = 3
"""Of them, on a machine so slow that bulk is through before they are."""
SLOW = 0.5
"""Seconds that a host takes over each message."""
MOST_BETWEEN = 50
"""Attempts of bulk that a reset may wait for."""
WINDOW = 20
"""Attempts to a site that may be under way."""


@dataclass
class Watch:
    """A host that takes its time, and notes in which order recipients were named to it."""

    named: list[str] = field(default_factory=list)

    async def __call__(self, step: Step, recipient: str) -> bool:
        if step is Step.RCPT:
            self.named.append(recipient)
        if step is Step.DOT:
            await asyncio.sleep(SLOW)
        return True


@pytest.mark.slow
async def test_a_password_reset_overtakes_thousands_of_bulk_mails(tmp_path: Path, tell: Tell) -> None:
    async with AsyncExitStack() as stack:
        watches, patience = [Watch() for _ in range(SITES // 2)], Patience(Step.DOT)
        good = [await stack.enter_async_context(Sink(watch).listening()) for watch in watches]
        hanging = [await stack.enter_async_context(Sink(patience).listening()) for _ in range(SITES // 2)]
        routes = "".join(
            f'[[route]]\ndomain = "d{number}.example"\nrelay = "{sink.relay}"\n'
            for number, sink in enumerate([*good, *hanging])
        )
        house = await stack.enter_async_context(open_house(tmp_path / "house", more=routes))
        for first in range(0, WAITING, AT_ONCE):
            await _submit_bulk(house, range(first, first + AT_ONCE))
        await house.see("bulk is under way", lambda: all(len(watch.named) > 20 for watch in watches))
        # of the same account as the bulk: its lane alone makes the difference
        client = stack.enter_context(await asyncio.to_thread(house.connect))
        between = []
        for number in range(LETTERS):
            named, recipient = watches[number % len(good)].named, f"reset{number}@d{number % len(good)}.example"
            before = await asyncio.to_thread(_send, client, recipient, named)
            await house.see("it is there", lambda named=named, to=recipient: to in named)  # type: ignore[misc]  # of mypy's own
            if (left := house.open_deliveries()) <= WAITING / 2 + 2 * WINDOW:
                break
            between.append(max(0, named.index(recipient) - before))
        tell(
            f"{WAITING} bulk to {SITES} sites, half of which hang: between the 250 and the attempt of a reset "
            f"{max(between)} of bulk at most were begun at its site ({len(between)} resets); {left} were open then"
        )
        assert len(between) >= ENOUGH
        assert max(between) <= MOST_BETWEEN
        assert all(sink.open <= WINDOW for sink in hanging)


def _send(client: smtplib.SMTP, recipient: str, named: list[str]) -> int:
    """Submit; return how many were named to its host by the time of the 250."""
    send(client, SENDER, (recipient,), message((recipient,)))
    return len(named)


async def _submit_bulk(house: House, numbers: Sequence[int]) -> None:
    recipients = [f"r{number}@d{number % SITES}.example" for number in numbers]
    content = b"X-MTA-Stream: bulk\r\n" + message((recipients[0],))
    await house.submit(*recipients, content=content)
