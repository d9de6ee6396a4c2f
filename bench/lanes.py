"""How long does a password reset take from its 250 to a host that has it, while bulk waits? One worker, or more.

    python -m bench.lanes [--waiting 100000] [--letters 60] [--workers 1] [--folder DIR]

Bulk of the same account to 100 sites is accepted while its stream is paused; then it is resumed, and messages of the
transactional stream are submitted one by one to the same sites: first with all of them fast, then with half of them
hanging (they take connections and never greet; resets go to the others). The time is that of the sink's file, less
that of the 250 at the client.
"""

import argparse
import json
import os
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.end_to_end import HERE, Server, ask_sink, build, free_port, wait_for

SENDER = "news@bench.test"
SITES = 100
RECIPIENTS = 80
"""Of a bulk message: what the load generator can do."""
MARK = "X-Reset-Number: "
APART = 0.1
"""Seconds between resets."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one case measured."""

    waiting: int
    fill_seconds: float
    times: list[float]
    """Seconds from 250 to arrival."""
    bulk_rate: float
    """Bulk deliveries per second meanwhile."""
    left: int


@contextmanager
def hanging(port: int, first: int) -> Iterator[None]:
    """Let the sites from one number on take connections, and say nothing: nobody fetches them from the kernel."""
    with ExitStack() as stack:
        for number in range(first, SITES):
            stack.enter_context(socket.create_server((f"127.0.1.{number}", port), backlog=1000))
        yield


def submit_all(port: int, letters: int, sites: int) -> list[float]:
    """Submit the resets; return when each was accepted."""
    accepted = []
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.login("u/transactional", "p")
        for number in range(letters):
            to = f"reset{number}@d{number % sites}.bench.test"
            fields = f"From: {SENDER}\r\nTo: {to}\r\nSubject: reset\r\n{MARK}{number}.\r\n"
            client.sendmail(SENDER, to, f"{fields}\r\nYour code is {number}.\r\n")
            accepted.append(time.time())
            time.sleep(APART)
    return accepted


def arrivals(folder: Path) -> dict[int, float]:
    """Return when each reset came, by number: files of the sink."""
    found = {}
    for path in folder.iterdir():
        text = path.read_text("latin-1")
        if MARK in text and text.endswith("\n"):
            found[int(text.partition(MARK)[2].partition(".")[0])] = path.stat().st_mtime
    return found


def received(port: int) -> int:
    """Return how many messages the sink has."""
    return int(json.loads(ask_sink(port, b"XSTAT")[4:])["msgs"])


def mta(work: Path, *arguments: str) -> None:
    """Run a command."""
    command = [sys.executable, "-m", "mta", "-c", str(work / "mta.toml"), *arguments]
    subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.DEVNULL)


def one_case(options: argparse.Namespace, tools: Path, good: int) -> Figures:
    """Measure with so many good sites; the others hang."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mta-bench-", dir=options.folder)))
        work, saved = folder / "mta", folder / "saved"
        saved.mkdir()
        (work / "mta.d").mkdir(parents=True)
        (work / "mta.d" / "lanes.toml").write_text('[queue]\nstop_grace = "1s"\n')
        port, sink_port = free_port(), free_port()
        command = [str(tools / "sink"), "--port", str(sink_port), "--addrs", str(good), "--save", str(saved)]
        sink = subprocess.Popen([*command, "--save-max", str(options.letters), "--save-with", MARK])
        stack.callback(sink.wait)
        stack.callback(sink.terminate)
        wait_for(sink_port)
        stack.enter_context(hanging(sink_port, good))
        server = Server(work, port, sink_port, options, tools / "dkim.pem")
        stack.callback(server.stop)
        wait_for(port)
        mta(work, "queue", "pause", "--stream", "bulk", "--reason", "bench")
        filling = fill(tools, port, options.waiting)
        mta(work, "queue", "resume", "--stream", "bulk")
        wait_until(lambda: received(sink_port) > 0)
        before, began = received(sink_port), time.monotonic()
        accepted = submit_all(port, options.letters, good)
        bulk = received(sink_port) - before - options.letters
        rate = bulk / (time.monotonic() - began)
        wait_until(lambda: len(arrivals(saved)) == options.letters)
        found = arrivals(saved)
        times = [found[number] - at for number, at in enumerate(accepted)]
        waiting = options.waiting // RECIPIENTS * RECIPIENTS
        return Figures(waiting, filling, times, rate, waiting - received(sink_port) + options.letters)


def fill(tools: Path, port: int, waiting: int) -> float:
    """Submit the bulk; return how many seconds that took."""
    began = time.monotonic()
    generator = [str(tools / "loadgen"), "--port", str(port), "--user", "u/bulk", "--password", "p", "--conns", "8"]
    generator += ["--size", "500", "--domains", str(SITES), "--rcpts", str(RECIPIENTS)]
    subprocess.run([*generator, "--count", str(waiting // RECIPIENTS)], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so; RuntimeError after a minute."""
    end = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > end:
            raise RuntimeError("it does not come")
        time.sleep(0.02)


def show(name: str, figures: Figures) -> None:
    """Print one case."""
    ordered = sorted(max(0.0, each) for each in figures.times)
    p50, p99 = statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{figures.waiting} bulk wait, {name}: from 250 to arrival p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, "
        f"max {ordered[-1] * 1000:.0f} ms ({len(ordered)} resets); bulk meanwhile {figures.bulk_rate:.0f}/s, "
        f"{figures.left} left; accepted in {figures.fill_seconds:.0f} s",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--letters", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", default=None, help="where the store is made (default: the temporary folder)")
    options = parser.parse_args()
    options.no_dkim, options.hold, options.domains = True, False, SITES
    os.environ["BENCH_WORKERS"] = str(options.workers)
    tools = HERE / "bin"
    build(tools)
    print(f"{options.workers} worker(s), Python {sys.version.split()[0]}, {os.cpu_count()} cores, {SITES} sites")
    show("all sites fast", one_case(options, tools, SITES))
    show("half of the sites hang", one_case(options, tools, SITES // 2))


if __name__ == "__main__":
    main()
