"""One container prints a million lines: when does a follower have the last one?"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import psutil

from benchmarks import floors
from benchmarks.logs import lines
from benchmarks.logs.reading import Read, read_in_process
from benchmarks.processes import MEBIBYTE, watched_growth
from benchmarks.stack import Stack, running_stack, zip_of
from benchmarks.table import Figure

LINES = 1_000_000
ROUNDS = 3
SLOWER = 2.0
"""Times the bare read."""
GROWTH = 64.0
"""MiB."""
SPEC = {"resources": {"cpus": 2, "memory": "512m"}}


@dataclass(frozen=True, slots=True)
class Round:
    """Ours and the bare read of the same program, one after the other."""

    ours: Read
    bare: Read
    growth: float
    """MiB of the agent."""


async def figures() -> list[Figure]:
    async with running_stack("docker") as stack:
        await stack.stored()
        image = await stack.image()
        plain = [await one_round(stack, image, buffered=False) for _ in range(ROUNDS)]
        buffered = [await one_round(stack, image, buffered=True) for _ in range(ROUNDS)]
    return [
        told("1,000,000 lines of 100 B from a container: last line at the follower", plain, SLOWER),
        told("the same, written 64 KiB at a time", buffered, None),
        whole([*plain, *buffered]),
        growth([*plain, *buffered]),
    ]


async def one_round(stack: Stack, image: str, *, buffered: bool) -> Round:
    program = lines.at_once(LINES, buffered=buffered)
    job = await stack.upload(zip_of({"main.py": program}), SPEC)
    agent = agent_of(stack)
    async with watched_growth([agent]) as grown:
        ours = await read_in_process("follow", stack.url, job["id"], str(LINES), token=stack.token)
    end = await stack.ended(job["id"])
    if end["state"] != "succeeded":
        raise RuntimeError(f"{job['id']} ended as {end['state']}: {end['detail']}")
    with floors.program_folder(stack.folder / "bare") as folder:
        (folder / "job" / "main.py").write_text(program)
        bare = await read_in_process("attach", image, str(folder), str(LINES))
    return Round(ours, bare, grown.worst()[1] / MEBIBYTE)


def agent_of(stack: Stack) -> psutil.Process:
    """The process in which ``stoker up`` runs its agent."""
    for process in psutil.Process(stack.pid).children():
        if any("agent_process" in word for word in process.cmdline()):
            return process
    raise RuntimeError("stoker up has no agent")


def told(name: str, rounds: list[Round], most: float | None) -> Figure:
    """Medians of the seconds from the program's begin to its last line."""
    bare = statistics.median(one.bare.last for one in rounds)
    spread = ", ".join(f"{one.ours.last:.2f} beside {one.bare.last:.2f}" for one in rounds)
    return Figure(
        name,
        statistics.median(one.ours.last for one in rounds),
        "s",
        bar=most and most * bare,
        beside="Docker SDK attach, same program and image",
        reference=bare,
        note=f"each round: {spread}",
    )


def whole(rounds: list[Round]) -> Figure:
    wrong = sum(one.ours.wrong for one in rounds)
    note = next((one.ours.told for one in rounds if one.ours.wrong), "")
    name = f"lines lost, doubled, moved or changed in {len(rounds)} such logs"
    return Figure(name, wrong, "lines", 0.0, note=note)


def growth(rounds: list[Round]) -> Figure:
    worst = max(one.growth for one in rounds)
    return Figure("the agent's memory meanwhile: growth", worst, "MiB", GROWTH)
