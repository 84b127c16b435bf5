"""Runs all of it for some seconds; ends with 1 where anything was found."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz import coded, served, zipped
from tests.fuzz.rounds import rounds

SHARES = {"coded": 0.2, "zipped": 0.2, "served": 0.6}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=sorted(SHARES))
    asked = parser.parse_args()
    found: list[str] = []
    for name, share in SHARES.items():
        if asked.only not in (None, name):
            continue
        seconds = asked.seconds * (1.0 if asked.only else share)
        if name == "served":
            tried, broken = served.rounds(seconds, asked.seed)
        else:
            targets = coded.TARGETS if name == "coded" else zipped.TARGETS
            tried, broken = rounds(targets, seconds, asked.seed)
        say(f"{name}: {tried} cases, {len(broken)} found (--seed {asked.seed})")
        found += broken
    for one in found:
        say(f"FOUND {one}")
    return 1 if found else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
