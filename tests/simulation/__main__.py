"""How many seeds hold? ``python -m tests.simulation [--seeds N] [--first SEED] [--trace]``."""

from __future__ import annotations

import argparse
import time

from tests.simulation.verdict import breaches, report
from tests.simulation.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    parser.add_argument("--digest", action="store_true", help="print what each trace comes to")
    asked = parser.parse_args()
    begun, failed = time.process_time(), 0
    for seed in range(asked.first, asked.first + asked.seeds):
        outcome = World(seed).run()
        found = breaches(outcome)
        if asked.trace:
            print("\n".join(outcome.trace))
        if asked.digest:
            print(seed, outcome.digest)
        if found:
            failed += 1
            print(report(seed, outcome, found), flush=True)
    seconds = time.process_time() - begun
    print(f"{asked.seeds} seeds, {failed} failed, {seconds:.1f} s of processor time")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
