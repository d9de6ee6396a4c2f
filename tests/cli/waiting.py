"""Waiting for what another process does."""

import time
from collections.abc import Callable

from tests.cli.command import Command
from tests.scenarios.house import SENDER, House, message, send


def eventually(question: Callable[[], bool], seconds: float = 20) -> None:
    """Ask until the answer is yes."""
    until = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.05)


def submitted_and_deferred(mta: Command, house: House, *recipients: str) -> str:
    """Submit a message to hosts that defer it, and return its queue id once they have."""
    with house.connect() as client:
        queue_id = send(client, SENDER, recipients, message(recipients))

    eventually(lambda: attempts(mta, queue_id) == [1] * len(recipients))
    return queue_id


def attempts(mta: Command, queue_id: str) -> list[int | str]:
    """Return the attempts that each delivery has behind it, or its state while it is not queued."""
    rows = mta("queue", "list", "--id", queue_id, "--json").rows
    return [row["attempts"] if row["state"] == "queued" else row["state"] for row in rows]
