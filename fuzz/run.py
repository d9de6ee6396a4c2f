"""Run one target under atheris for a bounded time; see fuzz/README.md.

    python -m fuzz.run address [--seconds 180] [--dir .fuzz]

Starts from the seeds in tests/seeds. What reaches new code is kept below `--dir`, and what breaks a promise is written
there as `TARGET-crash-...`, `-timeout-...` or `-oom-...`; the exit status is not 0 then.
"""

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

TARGETS = ("address", "parameters", "data", "header", "originators")
SEEDS = Path(__file__).resolve().parents[1] / "tests" / "seeds"
WORDS = Path(__file__).with_name("words.dict")
MAX_OCTETS = 4096
SLOW = 10
"""Seconds that no input may take."""


def main(arguments: list[str]) -> None:
    """Fuzz until the time is over or a promise is broken. Does not return: the fuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=180, help="how long")
    parser.add_argument("--dir", type=Path, default=Path(".fuzz"), help="where inputs are kept")
    options = parser.parse_args(arguments)
    atheris = _atheris()
    check = _instrumented(atheris, options.target)
    kept = options.dir / options.target
    kept.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={options.seconds}", f"-max_len={MAX_OCTETS}", f"-timeout={SLOW}"]
    places = [f"-dict={WORDS}", f"-artifact_prefix={kept}-", str(kept), str(SEEDS / options.target)]
    atheris.Setup([sys.argv[0], *limits, *places], check)
    atheris.Fuzz()


def target(name: str) -> Callable[[bytes], None]:
    """Return the function of a target."""
    check: Callable[[bytes], None] = importlib.import_module(f"fuzz.{name}").check
    return check


def _atheris() -> ModuleType:
    try:
        return importlib.import_module("atheris")
    except ModuleNotFoundError:
        sys.exit("atheris is not installed; run: pip install 'mta[fuzz]', or make fuzz")


def _instrumented(atheris: ModuleType, name: str) -> Callable[[bytes], None]:
    """Import a target and our modules so that the fuzzer sees which ways are taken.

    Atheris could look into regular expressions too, but its stand-in for a pattern knows no `match(text, position)`.
    The words of `words.dict` make up for it.
    """
    with atheris.instrument_imports(include=["mta", "fuzz"]):
        return target(name)


if __name__ == "__main__":
    main(sys.argv[1:])
