"""Does Stoker keep its promises while its parts are killed? ``make bench-chaos``"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from benchmarks import table
from benchmarks.chaos import broker, cancel, gone, rounds, scale, throughput
from benchmarks.table import RESULTS, Figure

Measure = Callable[[argparse.Namespace], Awaitable[list[Figure]]]


def shaking(asked: argparse.Namespace) -> Awaitable[list[Figure]]:
    return rounds.figures(asked.rounds, asked.seed, asked.keep)


FIGURES: dict[str, Measure] = {
    "rounds": shaking,
    "gone": lambda _: gone.figures(),
    "broker": lambda _: broker.figures(),
    "cancel": lambda _: cancel.figures(),
    "scale": lambda _: scale.figures(),
    "throughput": lambda _: throughput.figures(),
}


async def measured(name: str, asked: argparse.Namespace) -> list[Figure]:
    """The figures; where they could not be measured, one that misses and says why."""
    begun = time.perf_counter()
    task = asyncio.ensure_future(FIGURES[name](asked))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except Exception as error:
        traceback.print_exc()
        return [table.broken(name, None, "", f"not measured: {error!r}"[:600])]
    finally:
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", help=f"some of {', '.join(FIGURES)}; all if none")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument(
        "--keep", type=Path, default=RESULTS / "chaos.md", help="file with a row for each run"
    )
    asked = parser.parse_args()
    asked.figures = asked.figures or list(FIGURES)
    if unknown := [name for name in asked.figures if name not in FIGURES]:
        parser.error(f"no such figure: {', '.join(unknown)}; known are {', '.join(FIGURES)}")
    return asked


def main() -> int:
    asked = read_arguments()
    logging.getLogger("bus").setLevel(logging.CRITICAL)  # that the broker dies is no news here
    print(f"seed {asked.seed}", flush=True)
    figures: list[Figure] = []
    for name in asked.figures:
        figures += uvloop.run(measured(name, asked))
    table.show(figures)
    print(f"kept in {table.keep(figures)}")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
