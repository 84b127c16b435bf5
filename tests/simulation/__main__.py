"""How many seeds hold? ``python -m tests.simulation [--seeds N] [--first SEED] [--trace]``."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import time

from tests.simulation.verdict import breaches, report
from tests.simulation.world import World

CHUNK = 100


def main() -> int:
    asked = arguments()
    if asked.trace:
        print("\n".join(World(asked.first).run().trace))
        asked.seeds = 1
    begun, failed = time.monotonic(), 0
    last = asked.first + asked.seeds
    firsts = range(asked.first, last, CHUNK)
    with concurrent.futures.ProcessPoolExecutor(asked.processes) as pool:
        for lines in pool.map(judged, firsts, [min(f + CHUNK, last) for f in firsts]):
            failed += len(lines)
            for line in lines:
                print(line, flush=True)
    print(f"{asked.seeds} seeds, {failed} failed, {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--trace", action="store_true", help="print all that happens in the first")
    return parser.parse_args()


def judged(first: int, end: int) -> list[str]:
    """A report for each seed that breaks what is promised."""
    reports = []
    for seed in range(first, end):
        outcome = World(seed).run()
        found = breaches(outcome)
        if found:
            reports.append(report(seed, outcome, found))
    return reports


if __name__ == "__main__":
    raise SystemExit(main())
