"""Messages per second, peak memory and CPU of one worker, from submission to a sink on loopback, signed with RSA-2048.

    python -m bench.end_to_end [--count 5000] [--conns 20] [--size 4096] [--rounds 3] [--hold] [--no-dkim]

Each round starts a new server with an empty queue. The rate is messages / (last message at the sink - first 250); with
`--hold`, messages / (last 250 - first 250). CPU is the server's user and system time, memory its highest resident set.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
WARM_UP = 200


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured."""

    rate: float
    cpu_per_1000: float
    peak_mb: float
    accepted: int
    arrived: int
    doubled: int
    signed: int
    p50_ms: float
    p99_ms: float


def build(folder: Path) -> None:
    """Compile the load generator and the sink, and make an RSA key."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, libraries in (("loadgen", "-lssl -lcrypto -pthread"), ("sink", "")):
        source, program = HERE / f"{name}.c", folder / name
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-O2", "-o", str(program), str(source), *libraries.split()], check=True)
    key = folder / "dkim.pem"
    if not key.exists():
        command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        key.chmod(0o600)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask_sink(port: int, command: bytes) -> str:
    """Send one of the sink's control commands; return its answer."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        connection.sendall(command + b"\r\n")
        return lines.readline().decode()


def wait_for(port: int, seconds: float = 30) -> None:
    """Wait until an SMTP server greets at a port."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as connection:
                if connection.makefile("rb").readline().startswith(b"220"):
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nothing greets at port {port}")


class Server:
    """The server under measurement, with the CPU time and the highest memory of all its processes."""

    def __init__(self, work: Path, port: int, sink: int, options: argparse.Namespace, key: Path) -> None:
        environ = dict(os.environ)
        environ |= {"BENCH_WORK": str(work), "BENCH_PORT": str(port), "BENCH_SINK_PORT": str(sink)}
        environ |= {"BENCH_HOLD": str(int(options.hold)), "BENCH_DKIM": str(int(not options.no_dkim))}
        environ |= {"BENCH_KEY": str(key), "BENCH_DOMAINS": str(options.domains)}
        self._log = (work.parent / "server.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.serve"], env=environ, stdout=self._log, stderr=self._log, cwd=HERE.parent
        )
        self.peak_kb = 0
        self._halt = threading.Event()
        self._sampler = threading.Thread(target=self._sample)
        self._sampler.start()

    def cpu_seconds(self) -> float:
        """Return the user and system time used so far."""
        used = 0
        for pid in self._processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            used += sum(map(int, fields[11:15]))
        return used / TICKS

    def _processes(self) -> list[int]:
        """Return the server's process and those it started."""
        found = [self._process.pid]
        for pid in found:
            found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def _sample(self) -> None:
        while not self._halt.wait(0.2):
            try:
                every = [Path(f"/proc/{pid}/status").read_text() for pid in self._processes()]
            except OSError:
                # a process has just ended; when it is the server, `stop` ends this too
                continue
            peaks = [line.split()[1] for status in every for line in status.splitlines() if line.startswith("VmHWM")]
            self.peak_kb = max(self.peak_kb, sum(map(int, peaks)))

    def stop(self) -> None:
        """End the server in order."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._halt.set()
        self._sampler.join()
        self._log.close()


def one_round(options: argparse.Namespace, tools: Path) -> Round:
    """Measure once."""
    work = Path(tempfile.mkdtemp(prefix="mta-bench-"))
    port, sink_port = free_port(), free_port()
    sink = subprocess.Popen([tools / "sink", "--port", str(sink_port), "--addrs", "256"])
    wait_for(sink_port)
    server = Server(work / "mta", port, sink_port, options, tools / "dkim.pem")
    try:
        wait_for(port)
        generator = [str(tools / "loadgen"), "--port", str(port), "--user", "u", "--password", "p"]
        generator += ["--size", str(options.size), "--conns", str(options.conns), "--domains", str(options.domains)]
        subprocess.run([*generator, "--count", str(WARM_UP), "--id-prefix", "w"], stdout=subprocess.DEVNULL, check=True)
        drain(sink_port, 0 if options.hold else WARM_UP)
        ask_sink(sink_port, b"XRESET")
        before = server.cpu_seconds()
        run = subprocess.run([*generator, "--count", str(options.count)], stdout=subprocess.PIPE, check=True)
        load = json.loads(run.stdout)
        seen = drain(sink_port, 0 if options.hold else load["ok"])
        time.sleep(0.5)
        used = server.cpu_seconds() - before
        last = load["last_ok"] if options.hold else seen["last"]
        return Round(
            rate=load["ok"] / (last - load["first_ok"]),
            cpu_per_1000=used / options.count * 1000,
            peak_mb=server.peak_kb / 1024,
            accepted=load["ok"],
            arrived=int(seen["unique"]),
            doubled=int(seen["msgs"] - seen["unique"]),
            signed=int(seen["dkim"]),
            p50_ms=load["lat_p50_ms"],
            p99_ms=load["lat_p99_ms"],
        )
    finally:
        server.stop()
        sink.terminate()
        sink.wait()
        shutil.rmtree(work, ignore_errors=True)


def drain(sink_port: int, wanted: int, seconds: float = 120) -> dict[str, float]:
    """Wait until so many messages arrived; return the sink's counts."""
    end = time.monotonic() + seconds
    while True:
        seen: dict[str, float] = json.loads(ask_sink(sink_port, b"XSTAT")[4:])
        if seen["unique"] >= wanted:
            return seen
        if time.monotonic() > end:
            raise RuntimeError(f"only {seen['unique']} of {wanted} messages arrived")
        time.sleep(0.05)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--conns", type=int, default=20)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--domains", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hold", action="store_true", help="accept only")
    parser.add_argument("--no-dkim", action="store_true")
    options = parser.parse_args()
    tools = HERE / "bin"
    build(tools)
    rounds = []
    for number in range(options.rounds):
        result = one_round(options, tools)
        rounds.append(result)
        print(
            f"round {number + 1}: {result.rate:.0f} messages/s, {result.cpu_per_1000:.2f} CPU s/1000, "
            f"{result.peak_mb:.0f} MB, {result.accepted} accepted, {result.arrived} arrived, {result.doubled} doubled, "
            f"{result.signed} signed, 250 after p50 {result.p50_ms:.1f} ms p99 {result.p99_ms:.1f} ms",
            flush=True,
        )
    rates = [each.rate for each in rounds]
    print(
        f"\n{options.count} messages of {options.size} octets over {options.conns} connections, "
        f"{options.domains} destination(s), {'accepted only' if options.hold else 'end to end'}, "
        f"{'unsigned' if options.no_dkim else 'RSA-2048'}; one worker, Python {sys.version.split()[0]}, "
        f"{os.cpu_count()} cores\n"
        f"median {statistics.median(rates):.0f} messages/s ({min(rates):.0f}-{max(rates):.0f}), "
        f"{statistics.median(each.cpu_per_1000 for each in rounds):.2f} CPU s per 1000, "
        f"peak {max(each.peak_mb for each in rounds):.0f} MB"
    )


if __name__ == "__main__":
    main()
