"""Should workers on one machine share one database file, or keep a file each? Measures accept, and accept and settle.

Run: python bench/store_files.py [--seconds 3] [--rounds 3] [--folder DIR]. Ways are interleaved; medians are printed.
A message has 4 KB and one delivery; each process has 20 callers that wait for each commit.
"""

import argparse
import asyncio
import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from mta.clock import SystemClock
from mta.events import Event, EventType
from mta.mail.address import Mailbox, ReversePath
from mta.mail.envelope import Recipient
from mta.mail.reply import Reply
from mta.queue.model import Content, Delivery, Message, NewMessage, State, Stream
from mta.queue.settle import Settled, Settlement
from mta.storage.sqlite import SqliteStore

CALLERS = 20
HEADER = b"From: shop@example.com\r\nTo: a@example.net\r\nSubject: bench\r\n" + b"X-Pad: " + b"h" * 400 + b"\r\n"
BODY = (b"b" * 76 + b"\r\n") * 46


@dataclass(frozen=True, slots=True)
class Way:
    """A number of processes, and whether they share a file."""

    name: str
    processes: int
    shared: bool


WAYS = (
    Way("one process, one file", 1, True),
    Way("two processes, shared file", 2, True),
    Way("two processes, a file each", 2, False),
)
WORK = ("accept", "accept+settle")


def new_message(store: SqliteStore) -> NewMessage:
    """Return a message of 4 KB with one delivery."""
    now, queue_id, delivery_id = store.now(), store.ids.next(), store.ids.next()
    message = Message(
        id=queue_id,
        accepted_at=now,
        account="shop",
        stream=Stream.TRANSACTIONAL,
        reverse_path=ReversePath(Mailbox("shop", "example.com")),
        from_domain="example.com",
        message_id=f"<{queue_id}@example.com>",
        size=len(HEADER) + 2 + len(BODY),
        checksum=hashlib.sha256(HEADER + b"\r\n" + BODY).digest(),
        body_hash=bytes(32),
    )
    recipient = Recipient(Mailbox(f"user{random.randrange(100_000)}", "example.net"))
    return_path = Mailbox("b00" + delivery_id + "x" * 20, "bounces.example.com")
    delivery = Delivery(delivery_id, queue_id, recipient, State.QUEUED, now, return_path)
    return NewMessage(message, (delivery,), Content(HEADER, (BODY,)))


def event_of(store: SqliteStore, new: NewMessage, type: EventType) -> Event:
    """Return an event of the size that events have."""
    message, delivery = new.message, new.deliveries[0]
    return Event(
        store.ids.next(),
        store.now(),
        type,
        account=message.account,
        stream=message.stream.value,
        message_id=message.message_id,
        queue_id=message.id,
        delivery_id=delivery.id,
        recipient=str(delivery.recipient.mailbox),
        attempt=1,
        reply=Reply.of(250, "2.0.0", "Ok: queued as 4XyZ"),
        duration=timedelta(milliseconds=120),
    )


async def caller(store: SqliteStore, settle: bool, until: float, waits: list[float]) -> None:
    """Accept, and perhaps settle, one message after the other."""
    while time.monotonic() < until:
        new = new_message(store)
        began = time.monotonic()
        accepted = await store.accept(new, [event_of(store, new, EventType.ACCEPTED)], lease=int(settle))
        waits.append(time.monotonic() - began)
        if settle:
            (claimed,) = accepted.leased
            settlement = Settlement(claimed, State.DELIVERED, Reply.of(250, "2.0.0", "Ok"), EventType.DELIVERED)
            await store.settle(Settled(settlement, (event_of(store, new, EventType.DELIVERED),)))


async def child(path: str, work: str, begin: float, seconds: float) -> None:
    """Measure in this process and print the figures as JSON."""
    waits: list[float] = []
    commits: list[int] = []

    def committed(units: int, _seconds: float) -> None:
        commits.append(units)

    opened = SqliteStore.open(path, SystemClock(), min_free=0.0, dice=random.Random(), on_commit=committed)
    async with opened as store:
        await asyncio.sleep(max(0.0, begin - time.time()))
        until = time.monotonic() + seconds
        cpu = time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(caller(store, work != "accept", until, waits))
        cpu = time.process_time() - cpu
    waits.sort()
    figures = {
        "count": len(waits),
        "p50": waits[len(waits) // 2] * 1000,
        "p99": waits[len(waits) * 99 // 100] * 1000,
        "max": waits[-1] * 1000,
        "group": sum(commits) / len(commits),
        "cpu": cpu,
    }
    print(json.dumps(figures))


def measure(way: Way, work: str, folder: str, seconds: float) -> dict[str, float]:
    """Run one way once and return its figures."""
    begin = time.time() + 1.5
    children = []
    for number in range(way.processes):
        path = str(Path(folder) / ("queue.db" if way.shared else f"queue{number}.db"))
        command = [sys.executable, __file__, "--child", path, work, str(begin), str(seconds)]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    each = []
    for process in children:
        output, _ = process.communicate(timeout=seconds + 60)
        if process.returncode != 0:
            raise SystemExit(f"{way.name}: a process ended with {process.returncode}")
        each.append(json.loads(output))
    total = sum(one["count"] for one in each)
    return {
        "rate": total / seconds,
        "p50": statistics.mean(one["p50"] for one in each),
        "p99": max(one["p99"] for one in each),
        "max": max(one["max"] for one in each),
        "group": statistics.mean(one["group"] for one in each),
        "cpu": sum(one["cpu"] for one in each) / total * 1000,
        "share": min(one["count"] for one in each) / max(one["count"] for one in each),
    }


def main() -> None:
    """Run all ways, interleaved, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where the databases are made (default: the temporary folder)")
    parser.add_argument("--child", nargs=4, metavar=("PATH", "WORK", "BEGIN", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        path, work, begin, seconds = arguments.child
        asyncio.run(child(path, work, float(begin), float(seconds)))
        return
    found: dict[tuple[str, str], list[dict[str, float]]] = {(work, way.name): [] for work in WORK for way in WAYS}
    for _ in range(arguments.rounds):
        for work in WORK:
            for way in WAYS:
                with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                    found[work, way.name].append(measure(way, work, folder, arguments.seconds))
    print(
        f"{'work':14} {'way':28} {'msg/s':>7} {'p50 ms':>7} {'p99 ms':>7} {'max ms':>7} {'group':>6} {'cpu/1000':>8} "
        "share"
    )
    for (work, name), runs in found.items():
        m = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"{work:14} {name:28} {m['rate']:7.0f} {m['p50']:7.1f} {m['p99']:7.1f} {m['max']:7.1f} {m['group']:6.1f} "
            f"{m['cpu']:8.2f} {m['share']:.2f}"
        )


if __name__ == "__main__":
    main()
