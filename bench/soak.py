"""The faults in their long form, and the figures of a long queue: an hour at most.

    python -m bench.soak [--minutes 60] [--only scenarios|lanes|million|two_workers …]

The scenarios run one after another with `MTA_SOAK=1`: 200 kills, 10,000 contested deliveries, a worker frozen for
longer than its lease; then the benches of lanes, of a million waiting deliveries, and of two workers. What is not over
when the time is, is ended and counts as failed. The last line sums up. Needs root for a disk of its own, gcc and
faketime.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
SCENARIOS = (
    "kill",
    "stop",
    "store_faults",
    "faults",
    "clock",
    "frozen",
    "damage",
    "sites",
    "lanes",
    "one_attempt_at_a_time",
    "workers",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One part."""

    name: str
    command: tuple[str, ...]


STEPS = (
    Step(
        "scenarios",
        (
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--timeout=1800"),
            *(f"tests/scenarios/test_{name}.py" for name in SCENARIOS),
        ),
    ),
    Step("lanes", ("-m", "bench.lanes")),
    Step("million", ("-m", "bench.million")),
    Step("two_workers", ("-m", "bench.two_workers")),
)


def run(step: Step, environ: dict[str, str], until: float) -> str:
    """Carry out a step; return how it ended."""
    print(f"--- {step.name}", flush=True)
    # a session of its own, so that the servers which it started can be ended with it
    process = subprocess.Popen([sys.executable, *step.command], cwd=HERE, env=environ, start_new_session=True)
    try:
        code = process.wait(max(1.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "cut"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return "ok" if code == 0 else f"failed ({code})"


def totals(file: Path) -> Counter[str]:
    """Add up what the scenarios told."""
    found: Counter[str] = Counter()
    for line in file.read_text("utf-8").splitlines():
        found.update(json.loads(line)["numbers"])
    return found


def main() -> None:
    """Run all, print the sum, and end with 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", nargs="+", choices=[step.name for step in STEPS], default=None)
    options = parser.parse_args()
    began = time.monotonic()
    until = began + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="mta-soak-") as folder:
        figures = Path(folder) / "figures"
        figures.touch()
        environ = dict(os.environ) | {"MTA_SOAK": "1", "MTA_FIGURES": str(figures)}
        ends = {step.name: run(step, environ, until) for step in STEPS if step.name in (options.only or [step.name])}
        numbers = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in totals(figures).items())
    how = ", ".join(f"{name} {end}" for name, end in ends.items())
    print(f"soak, {(time.monotonic() - began) / 60:.0f} min: {how}{'; ' if numbers else ''}{numbers}")
    sys.exit(0 if set(ends.values()) == {"ok"} else 1)


if __name__ == "__main__":
    main()
