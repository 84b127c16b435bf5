"""Does what surrounds a run hold its figures? ``make bench-environment``"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable

import uvloop

from benchmarks import table
from benchmarks.environment import images, outputs
from benchmarks.table import Figure

Measure = Callable[[argparse.Namespace], Awaitable[list[Figure]]]

FIGURES: dict[str, tuple[Measure, float]] = {
    "again": (lambda asked: images.again(10 * asked.rounds), 600),
    "ten": (lambda asked: images.ten(asked.image), 1200),
    "outputs": (lambda asked: outputs.figures(asked.mebibytes << 20, asked.rounds), 1200),
}
"""Name to how it is measured and the seconds that it may take."""


async def measured(name: str, asked: argparse.Namespace) -> list[Figure]:
    """The figures; where they could not be measured, one that misses and says why."""
    measure, seconds = FIGURES[name]
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            return await measure(asked)
    except Exception as error:
        traceback.print_exc()
        return [table.broken(name, None, "", f"not measured: {error!r}"[:600])]
    finally:
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", help=f"some of {', '.join(FIGURES)}; all if none")
    parser.add_argument("--mebibytes", type=int, default=2048, help="of outputs")
    parser.add_argument("--image", type=int, default=256, help="MiB of a new environment")
    parser.add_argument("--rounds", type=int, default=3, help="of each, in turn")
    asked = parser.parse_args()
    asked.figures = asked.figures or list(FIGURES)
    if unknown := [name for name in asked.figures if name not in FIGURES]:
        parser.error(f"no such figure: {', '.join(unknown)}; known are {', '.join(FIGURES)}")
    return asked


def main() -> int:
    asked = read_arguments()
    figures: list[Figure] = []
    for name in asked.figures:
        figures += uvloop.run(measured(name, asked))
    table.show(figures)
    if (others := os.getloadavg()[1]) > 2 * (os.cpu_count() or 1):
        print(f"The load of {others:.0f} is more than these take: trust the ratios alone.")
    print(f"kept in {table.keep(figures)}")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
