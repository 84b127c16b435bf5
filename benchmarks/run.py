"""How is a benchmark run from the command line? Some of its figures in turn, then the table."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping

import uvloop

from benchmarks import table
from benchmarks.table import Figure

Measure = Callable[[argparse.Namespace], Awaitable[list[Figure]]]
Measures = Mapping[str, tuple[Measure, float]]
"""Name to how it is measured and the seconds that it may take."""


def parser(doc: str | None, measures: Measures) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("figures", nargs="*", help=f"some of {', '.join(measures)}; all if none")
    return made


def read(made: argparse.ArgumentParser, measures: Measures) -> argparse.Namespace:
    asked = made.parse_args()
    asked.figures = asked.figures or list(measures)
    if unknown := [name for name in asked.figures if name not in measures]:
        made.error(f"no such figure: {', '.join(unknown)}; known are {', '.join(measures)}")
    return asked


def run(measures: Measures, asked: argparse.Namespace) -> int:
    """The exit status: 0 where every bar holds."""
    figures: list[Figure] = []
    for name in asked.figures:
        figures += uvloop.run(measured(name, measures, asked))
    table.show(figures)
    if (others := os.getloadavg()[1]) > 2 * (os.cpu_count() or 1):
        print(f"The load of {others:.0f} is more than these take: trust the ratios alone.")
    print(f"kept in {table.keep(figures)}")
    return 0 if all(figure.holds for figure in figures) else 1


async def measured(name: str, measures: Measures, asked: argparse.Namespace) -> list[Figure]:
    """The figures; where they could not be measured, one that misses and says why."""
    measure, seconds = measures[name]
    begun = time.perf_counter()
    task = asyncio.ensure_future(measure(asked))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with asyncio.timeout(seconds):
            return await task
    except Exception as error:
        traceback.print_exc()
        return [table.broken(name, None, "", f"not measured: {error!r}"[:600])]
    finally:
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
