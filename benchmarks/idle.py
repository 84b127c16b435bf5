"""What does a ``stoker up`` that has nothing to do take of the machine?"""

from __future__ import annotations

import asyncio

from benchmarks.processes import MEBIBYTE, label, processor_shares, proportional, resident
from benchmarks.stack import running_stack
from benchmarks.table import Figure

MEMORY_BAR = 200.0
"""MiB over all processes."""
PROCESSOR_BAR = 1.0
"""Per cent of one core."""
SETTLE = 5.0
WATCH = 30.0
"""Seconds."""


async def stack_at_rest() -> list[Figure]:
    """After one job, so that nothing is missing because it was never needed."""
    async with running_stack("process") as stack:
        await stack.stored()
        await asyncio.sleep(SETTLE)
        processes = stack.processes()
        shares = await processor_shares(processes, WATCH)
        memory = sum(resident(p) for p in processes) / MEBIBYTE
        shared = sum(proportional(p) for p in processes) / MEBIBYTE
        parts = ", ".join(f"{label(p)} {resident(p) / MEBIBYTE:.0f}" for p in processes)
    return [
        Figure(
            "idle stoker up: memory of all processes",
            memory,
            "MiB",
            MEMORY_BAR,
            beside="pyoco 102, jobd 115, Dask 265, Prefect 333, Ray 592 MiB",
            note=f"shared pages counted once: {shared:.0f} MiB ({parts})",
        ),
        Figure(
            "idle stoker up: processor",
            sum(shares.values()) * 100,
            "% of a core",
            PROCESSOR_BAR,
            note=", ".join(f"{name} {share * 100:.2f}" for name, share in shares.items()),
        ),
    ]
