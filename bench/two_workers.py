"""What does a second worker bring on this machine? Accepting alone, and end to end to many destinations.

    python -m bench.two_workers [--count 4000] [--rounds 3] [--conns 20] [--size 4096] [--domains 20]

The numbers of workers are interleaved, and medians printed. Both share one SQLite file; what a file each would bring
is measured without the rest of the server by `python -m bench.store_files`.
"""

import argparse
import os
import statistics
import sys

from bench.end_to_end import HERE, Round, build, one_round

WORKERS = (1, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--conns", type=int, default=20)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--domains", type=int, default=20)
    options = parser.parse_args()
    tools = HERE / "bin"
    build(tools)
    print(f"{options.count} messages of {options.size} octets, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    for what, hold, no_dkim in (("accept only", True, True), ("end to end, RSA-2048", False, False)):
        options.hold, options.no_dkim = hold, no_dkim
        found: dict[int, list[Round]] = {workers: [] for workers in WORKERS}
        for _ in range(options.rounds):
            for workers in WORKERS:
                os.environ["BENCH_WORKERS"] = str(workers)
                found[workers].append(one_round(options, tools))
        rates = {workers: statistics.median(each.rate for each in rounds) for workers, rounds in found.items()}
        for workers, rounds in found.items():
            print(
                f"{what}, {workers} worker(s): {rates[workers]:.0f} messages/s "
                f"({min(each.rate for each in rounds):.0f}-{max(each.rate for each in rounds):.0f}), "
                f"{statistics.median(each.cpu_per_1000 for each in rounds):.2f} CPU s/1000, "
                f"peak {max(each.peak_mb for each in rounds):.0f} MB, doubled {sum(each.doubled for each in rounds)}"
            )
        print(f"{what}: two workers bring {rates[2] / rates[1]:.2f} times one", flush=True)


if __name__ == "__main__":
    main()
