"""Does Stoker hold the bars of its first milestone on this machine? ``make bench-main``"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable

import uvloop

from benchmarks import demo, dispatch, idle, latency, table, upload
from benchmarks.table import Figure

Measure = Callable[[], Awaitable[list[Figure]]]

FIGURES: dict[str, tuple[Measure, float]] = {
    "demo": (demo.fresh_clone, 300),
    "latency": (latency.docker_first_line, 90),
    "dummy": (dispatch.dummy, 90),
    "process": (dispatch.process, 90),
    "containers": (dispatch.containers, 150),
    "upload": (upload.one_gibibyte, 180),
    "idle": (idle.stack_at_rest, 75),
}
"""Name to how it is measured and the seconds that it may take."""


async def measured(name: str) -> list[Figure]:
    """The figures; where they could not be measured, one that misses and says why."""
    measure, seconds = FIGURES[name]
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            return await measure()
    except Exception as error:
        traceback.print_exc()
        return [table.broken(name, None, "", f"not measured: {error!r}"[:600])]
    finally:
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", help=f"some of {', '.join(FIGURES)}; all if none")
    names = parser.parse_args().figures or list(FIGURES)
    if unknown := [name for name in names if name not in FIGURES]:
        parser.error(f"no such figure: {', '.join(unknown)}; known are {', '.join(FIGURES)}")
    figures: list[Figure] = []
    for name in names:
        figures += uvloop.run(measured(name))
    table.show(figures)
    print(f"kept in {table.keep(figures)}")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
