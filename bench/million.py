"""Does a queue of a million waiting deliveries cost anything? Measures `mta serve` on a long queue and on a short one.

    python -m bench.million [--waiting 1000 1000000] [--count 4000] [--rounds 2] [--due] [--folder DIR]

For each length: seconds until the server greets, messages per second accepted and delivered of an account that has
nothing waiting (to a sink on loopback, unsigned), CPU, and the highest resident set. What waits is written into the
tables past the server: bulk of 50 accounts to 20,000 domains, due in some hours, or, with `--due`, now, to one domain
that nothing can be delivered to. Rounds are interleaved; medians are printed.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.end_to_end import HERE, WARM_UP, Server, ask_sink, build, drain, free_port, wait_for
from mta.clock import SystemClock
from mta.storage.connect import connect, prepare
from mta.storage.rows import to_ms

_AT_ONCE = 50_000
_NUMBERS = (
    "WITH RECURSIVE number (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :first + :count)"
)
_FILL = (
    _NUMBERS + " INSERT INTO contents (id, octets) SELECT n + 1, zeroblob(300) FROM number",
    _NUMBERS
    + """
    INSERT INTO messages (id, accepted_at, account, stream, reverse_path, from_domain, message_id, size, checksum,
        body_hash, body_type, smtputf8, requiretls, content_at, pieces, header_size)
    SELECT printf('0m%014d', n), :now - 3600000, printf('a%d', n % 50), 'bulk', 'u@bench.test', 'bench.test',
           printf('<%s@bench.test>', hex(randomblob(10))), 300, zeroblob(32), zeroblob(32), '7BIT', 0, 0, n + 1, 1, 100
    FROM number""",
    _NUMBERS
    + """
    INSERT INTO deliveries (id, queue_id, account, stream, accepted_at, recipient, domain, notify, return_path, state,
        due_at, attempts, held_for, delay_noticed)
    SELECT printf('0w%014d', n), printf('0m%014d', n), printf('a%d', n % 50), 'bulk', :now - 3600000,
           printf('u%s@%s', hex(randomblob(4)), :to || (n * 7919 % :domains)), :to || (n * 7919 % :domains), '',
           printf('b0w%014dxxxxxxxxxxxxxxxxxxxx@bounces.bench.test', n), 'queued',
           :now + :wait + abs(random()) % 7200000, 3, 0, 0
    FROM number""",
)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured."""

    start: float
    rate: float
    cpu_per_1000: float
    peak_mb: float
    p99_ms: float


def fill(path: Path, waiting: int, *, due: bool) -> None:
    """Make a store in which so many deliveries wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    now = to_ms(SystemClock().now())
    prepare(str(path), now)
    with closing(connect(str(path))) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        for first in range(0, waiting, _AT_ONCE):
            place: dict[str, int | str] = {"first": first, "count": min(_AT_ONCE, waiting - first), "now": now}
            place |= {"to": "w.invalid" if due else "w.example", "domains": 1 if due else 20_000}
            place |= {"wait": -7_200_000 if due else 7_200_000}
            connection.execute("BEGIN")
            for statement in _FILL:
                connection.execute(statement, place)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def one_round(options: argparse.Namespace, tools: Path, filled: Path) -> Round:
    """Measure once, on a copy of a filled store."""
    work = Path(tempfile.mkdtemp(prefix="mta-bench-", dir=options.folder))
    (work / "mta" / "data").mkdir(parents=True)
    shutil.copy(filled, work / "mta" / "data" / "queue.db")
    port, sink_port = free_port(), free_port()
    sink = subprocess.Popen([tools / "sink", "--port", str(sink_port), "--addrs", "256"])
    wait_for(sink_port)
    began = time.monotonic()
    server = Server(work / "mta", port, sink_port, options, tools / "dkim.pem")
    try:
        wait_for(port, 120)
        start = time.monotonic() - began
        generator = [str(tools / "loadgen"), "--port", str(port), "--user", "u", "--password", "p"]
        generator += ["--size", "4096", "--conns", "20", "--domains", str(options.domains)]
        subprocess.run([*generator, "--count", str(WARM_UP), "--id-prefix", "w"], stdout=subprocess.DEVNULL, check=True)
        drain(sink_port, 0 if options.hold else WARM_UP)
        ask_sink(sink_port, b"XRESET")
        before = server.cpu_seconds()
        run = subprocess.run([*generator, "--count", str(options.count)], stdout=subprocess.PIPE, check=True)
        load = json.loads(run.stdout)
        seen = drain(sink_port, 0 if options.hold else load["ok"])
        used = server.cpu_seconds() - before
        last = load["last_ok"] if options.hold else seen["last"]
        rate = load["ok"] / (last - load["first_ok"])
        return Round(start, rate, used / options.count * 1000, server.peak_kb / 1024, load["lat_p99_ms"])
    except Exception:
        print((work / "server.log").read_text()[-2000:])
        raise
    finally:
        server.stop()
        sink.terminate()
        sink.wait()
        shutil.rmtree(work, ignore_errors=True)


def main() -> None:
    """Fill, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--due", action="store_true", help="what waits is due, to a domain that does not exist")
    parser.add_argument("--hold", action="store_true", help="accept only")
    parser.add_argument("--folder", default=None, help="where the stores are made (default: the temporary folder)")
    options = parser.parse_args()
    options.no_dkim, options.domains = True, 1
    tools = HERE / "bin"
    build(tools)
    found: dict[int, list[Round]] = {waiting: [] for waiting in options.waiting}
    with tempfile.TemporaryDirectory(prefix="mta-bench-", dir=options.folder) as folder:
        for waiting in options.waiting:
            began = time.monotonic()
            fill(Path(folder) / f"{waiting}.db", waiting, due=options.due)
            print(f"{waiting} waiting: filled in {time.monotonic() - began:.0f} s", flush=True)
        for _ in range(options.rounds):
            for waiting in options.waiting:
                found[waiting].append(one_round(options, tools, Path(folder) / f"{waiting}.db"))
    for waiting, rounds in found.items():
        print(
            f"{waiting:>8} waiting: greets after {statistics.median(each.start for each in rounds):.1f} s, "
            f"{statistics.median(each.rate for each in rounds):.0f} messages/s, "
            f"{statistics.median(each.cpu_per_1000 for each in rounds):.2f} CPU s/1000, "
            f"peak {max(each.peak_mb for each in rounds):.0f} MB, "
            f"250 after p99 {statistics.median(each.p99_ms for each in rounds):.0f} ms"
        )


if __name__ == "__main__":
    main()
