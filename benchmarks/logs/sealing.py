"""How fast does one archive seal, and in how much memory? Its last word is JSON.

``python -m benchmarks.logs.sealing NATS`` seals what lies in the stream of the job.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass

import psutil
import uvloop

from benchmarks.logs.reading import last_word
from benchmarks.logs.store import JOB, WORKER
from benchmarks.processes import MEBIBYTE
from bus.connection import Bus
from bus.link import BusConfig
from services.archive.sealing import Rank, Sealer


@dataclass(frozen=True, slots=True)
class Sealing:
    """What one run took."""

    seconds: float
    processor: float
    """Seconds of its own processor time."""
    before: float
    """MiB of memory before the first block."""
    peak: float
    """MiB."""


async def seal(nats: str, final: int | None) -> Sealing:
    async with Bus.connect(BusConfig(servers=(nats,), name="sealing")) as bus:
        process = psutil.Process()
        before = process.memory_info().rss
        times = process.cpu_times()
        begun = time.perf_counter()
        await Sealer(bus).seal(Rank(JOB, 1, 0, WORKER), final)
        seconds = time.perf_counter() - begun
        after = process.cpu_times()
    spent = after.user + after.system - times.user - times.system
    return Sealing(seconds, spent, before / MEBIBYTE, peak_of_this_process())


def peak_of_this_process() -> float:
    """MiB of resident memory at most."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell the peak")


async def seal_in_process(nats: str, final: int | None = None, seconds: float = 300) -> Sealing:
    """As an archive would that runs by itself."""
    words = (nats, str(final)) if final is not None else (nats,)
    return Sealing(**json.loads(await last_word(*words, seconds=seconds, module="sealing")))


if __name__ == "__main__":
    end = int(sys.argv[2]) if len(sys.argv) > 2 else None
    print(json.dumps(asdict(uvloop.run(seal(sys.argv[1], end)))))
