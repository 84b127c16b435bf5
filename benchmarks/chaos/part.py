"""How does one part of the house run with a ``lost_after`` of its own?

Everything else starts as its user would: ``stoker serve NAME``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bus.connection import Bus
from bus.layout import declare
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from stoker import agents, parts
from stoker.commands.join import run_until_stopped


async def scheduler(nats: str, lost_after: float) -> None:
    async with Bus.connect(parts.bus_config((nats,), "scheduler")) as bus:
        await declare(bus)
        await run_scheduler(bus, SchedulerConfig(lost_after=lost_after))


async def agent(nats: str, flags: agents.AgentFlags) -> None:
    settings = await agents.agent_config(flags, Path())
    await agents.run_agent(parts.bus_config((nats,), f"agent {settings.name}"), settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("scheduler", "agent"))
    parser.add_argument("--nats", required=True)
    parser.add_argument("--lost-after", type=float, required=True)
    parser.add_argument("--name", default="worker")
    parser.add_argument("--runtime", default="docker")
    parser.add_argument("--work", type=Path, default=Path())
    parser.add_argument("--base-image")
    parser.add_argument("--slots", type=int, default=4)
    asked = parser.parse_args()
    if asked.part == "scheduler":
        run_until_stopped(scheduler(asked.nats, asked.lost_after))
        return
    flags = agents.AgentFlags(
        name=asked.name,
        runtime=asked.runtime,
        work=asked.work,
        base_image=asked.base_image,
        slots=asked.slots,
        cpus=float(asked.slots),
        memory="64g",
    )
    run_until_stopped(agent(asked.nats, flags))


if __name__ == "__main__":
    main()
