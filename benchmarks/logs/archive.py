"""How fast is a long log sealed, how small does it get, and how soon are its last lines there?"""

from __future__ import annotations

import asyncio
import statistics
import time

import zstandard

from benchmarks.logs import training
from benchmarks.logs.sealing import Sealing, seal_in_process
from benchmarks.logs.store import JOB, Page, Store, open_page, open_store
from benchmarks.processes import MEBIBYTE
from benchmarks.table import Figure
from bus.sealed import LogArchive

GIBIBYTE = 1 << 30
SEAL_SECONDS = 20.0
"""For a GiB."""
GROWTH = 64.0
"""MiB of the sealing process over what it had before."""
LAST = 1000
"""Lines."""
LAST_SECONDS = 0.1
TIMES = 20
BLOCK = 4 << 20
LEVEL = 3


async def figures(gigabytes: int) -> list[Figure]:
    async with open_store() as store:
        sealings = []
        for number in range(gigabytes):
            for message in training.messages(GIBIBYTE):
                await store.print(message)
            final = store.offset if number == gigabytes - 1 else None
            sealings.append(await seal_in_process(store.nats, final))
        await store.write(ended=True)
        packing = await asyncio.to_thread(packing_seconds)
        small = await smaller(store)
        async with open_page(store) as page:
            last = [
                await last_lines(page, path, gigabytes)
                for path in (f"log?tail={LAST}", f"log/rows?tail={LAST}")
            ]
    return [*sealed(sealings, packing), small, *last]


def packing_seconds() -> float:
    """What the compressor alone takes for a GiB of the same text, measured on 256 MiB of it."""
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    pieces = list(training.messages(GIBIBYTE // 4))
    each = BLOCK // training.MESSAGE
    blocks = [b"".join(pieces[at : at + each]) for at in range(0, len(pieces), each)]
    begun = time.perf_counter()
    for block in blocks:
        compressor.compress(block)
    return 4 * (time.perf_counter() - begun)


def sealed(sealings: list[Sealing], packing: float) -> list[Figure]:
    seconds = [one.seconds for one in sealings]
    growth = max(one.peak - one.before for one in sealings)
    peaks = ", ".join(f"{one.peak:.0f}" for one in sealings)
    note = f"processor {statistics.median(one.processor for one in sealings):.1f} s"
    return [
        Figure(
            "sealing 1 GiB of a log, the slowest" if len(seconds) > 1 else "sealing 1 GiB of a log",
            max(seconds), "s", SEAL_SECONDS,
            beside="zstandard alone, level 3, same bytes", reference=packing, note=note,
        ),
        Figure(
            "memory of the sealing process: growth", growth, "MiB", GROWTH,
            note=f"most after each GiB: {peaks} MiB",
        ),
    ]  # fmt: skip


async def smaller(store: Store) -> Figure:
    """For information: the text is made, although as trainers print it."""
    index = await LogArchive(store.bus).index(JOB, 1, 0)
    assert index is not None
    size = sum(block.size for block in index.index.blocks)
    return Figure(
        "the same log as sealed", size / store.offset * 100, "% of its bytes",
        note=f"{store.offset / GIBIBYTE:.0f} GiB in {len(index.index.blocks)} blocks",
    )  # fmt: skip


async def last_lines(page: Page, path: str, gigabytes: int) -> Figure:
    """Over HTTP from a page in a process of its own; the first request opens its connections."""
    times = []
    url = f"{page.url}/api/v1/jobs/{JOB}/{path}"
    for _ in range(TIMES):
        begun = time.perf_counter()
        async with page.http.get(url) as answer:
            answer.raise_for_status()
            data = await answer.read()
        times.append(time.perf_counter() - begun)
    found = data.count(b"\n")
    if found not in (LAST, LAST - 1):
        raise RuntimeError(f"{found} lines came instead of {LAST}")
    return Figure(
        f"GET {path} of a log of {gigabytes} GiB, median of {TIMES}",
        statistics.median(times) * 1000, "ms", LAST_SECONDS * 1000,
        note=f"slowest {max(times) * 1000:.0f} ms, first {times[0] * 1000:.0f} ms, "
        f"{len(data) / MEBIBYTE:.2f} MiB each",
    )  # fmt: skip
