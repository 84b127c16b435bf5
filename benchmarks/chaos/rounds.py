"""Does a house that is shaken lose a job, a line or a container?"""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos import faults
from benchmarks.chaos.house import House, Wish, open_house
from benchmarks.chaos.load import steady
from benchmarks.chaos.verdict import Verdict, judged
from benchmarks.stack import ROOT
from benchmarks.table import Figure

ROUND = 11.0
"""Seconds from the first fault of a round to the next round."""
COLUMNS = (
    *("date", "commit", "seed", "rounds", "faults", "jobs", "attempts", "lines", "cancelled"),
    *("gave up", "jobs lost", "two winners", "wrong ends", "lines lost", "doubled"),
    *("containers left", "shims left", "ran twice", "in told gaps"),
    "outputs lost",
)
HEADING = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"


@dataclass
class Run:
    """One run of rounds."""

    seed: int
    rounds: int
    faults: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    kept: Path | None = None

    def row(self) -> str:
        v = self.verdict
        values = (
            time.strftime("%Y-%m-%d %H:%M"), commit(), self.seed, self.rounds,
            faults.told(self.faults), v.jobs, v.attempts, v.lines, v.cancelled, v.gave_up,
            v.lost, v.winners, v.wrong, v.lines_lost, v.lines_doubled, v.containers, v.shims,
            v.twice, v.lines_told, v.outputs,
        )  # fmt: skip
        return "| " + " | ".join(str(value) for value in values) + " |\n"


def commit() -> str:
    words = ("git", "describe", "--always", "--dirty", "--abbrev=7")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() or "unknown"


async def shaken(seed: int, rounds: int, wish: Wish | None = None) -> Run:
    run = Run(seed, rounds)
    chance = random.Random(seed)
    async with open_house(wish or Wish()) as house:
        try:
            await shake(house, chance, run)
        except BaseException:
            keep(house, run, "the run was not finished")
            raise
        if not run.verdict.clean:
            keep(house, run, "\n".join(run.verdict.troubles))
    return run


async def shake(house: House, chance: random.Random, run: Run) -> None:
    async with steady(house, random.Random(chance.random())) as load:
        async with asyncio.TaskGroup() as group:
            busy = group.create_task(load.keep_busy())
            async with asyncio.TaskGroup() as breaking:
                for number in range(run.rounds):
                    await one_round(house, chance, run, breaking, number)
                    print(f"  live {len(load.live)}, ended {len(load.ends)}", flush=True)
            busy.cancel()
        print("quiet; waiting for the ends", flush=True)
        run.verdict = await judged(house, load)


async def one_round(
    house: House, chance: random.Random, run: Run, breaking: asyncio.TaskGroup, number: int
) -> None:
    """Faults may outlast their round: they overlap with those of the next."""
    drawn = faults.drawn(chance)
    told = ", ".join(f"{name} at {after:.1f} s" for name, after in drawn)
    print(f"{time.strftime('%H:%M:%S')} round {number + 1}: {told}", end="", flush=True)
    for name, after in drawn:
        run.faults[name] += 1
        breaking.create_task(faults.breaks(house, random.Random(chance.random()), name, after))
    await asyncio.sleep(ROUND)


def keep(house: House, run: Run, text: str) -> None:
    """The logs of all parts stay, and what was wrong lies beside them."""
    (house.folder / "keep").write_text(f"seed {run.seed}, {run.rounds} rounds\n{text}\n")
    run.kept = house.folder
    print(f"seed {run.seed}: the logs are in {house.folder}\n{text}", flush=True)


def write_row(file: Path, row: str) -> None:
    """After the last row of the file's table."""
    text = file.read_text() if file.exists() else f"# Chaos runs\n\n{HEADING}"
    if HEADING not in text:
        text = f"{text.rstrip()}\n\n{HEADING}"
    file.write_text(text.rstrip("\n") + "\n" + row)


async def figures(rounds: int, seed: int, file: Path) -> list[Figure]:
    run = await shaken(seed, rounds)
    write_row(file, run.row())
    v = run.verdict
    note = f"seed {seed}: {faults.told(run.faults)}"
    counts = (
        ("jobs lost", v.lost, f"{v.jobs} jobs, {v.attempts} attempts; {note}"),
        ("jobs with two winners", v.winners, ""),
        ("jobs that ended wrongly", v.wrong, f"{v.gave_up} used up all their tries"),
        ("lines lost without a word", v.lines_lost, f"{v.lines} lines"),
        ("lines in gaps that are told", v.lines_told, "decision 10 says where there may be some"),
        ("lines doubled", v.lines_doubled, ""),
        ("containers left behind", v.containers, ""),
        ("shims left behind", v.shims, ""),
        ("exclusive jobs that ran twice at one time", v.twice, ""),
        ("jobs whose outputs are not there", v.outputs, ""),
    )
    return [
        Figure(f"{rounds} rounds: {name}", count, "", bar=0.0, note=told)
        for name, count, told in counts
    ]
