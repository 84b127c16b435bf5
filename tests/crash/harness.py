"""How is a service killed at each of its effects in turn, and its scenario played to the end?

A first run without a crash counts and names the effects. Then one world for each point: the service
dies there, is started again as a supervisor does (or its replica goes on alone), and the scenario
says whether all is as it should be.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.crash.child import Life, Program, main
from tests.crash.hook import Crash
from tests.crash.points import Point, points
from tests.crash.worlds import Server, World, world

EVERYTHING = os.environ.get("STOKER_CRASH_POINTS") == "all"
"""Also at reads, also right before each effect, and at more times of what comes again."""
SIDE_BY_SIDE = 6
PATIENCE = 40.0
"""Seconds that one world may take."""
MOST = 3 if EVERYTHING else 1
"""Times of one effect at which the process is killed."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.crash.child"])


def warm_up() -> None:
    """Imports once what each process needs; without it, the first start would stop the loop."""
    process = processes.Process(target=idle)
    process.start()
    process.join()


def idle() -> None:
    pass


Play = Callable[[World], Awaitable[None]]


def cases(plays: Sequence[Play], with_replica: Sequence[Play]) -> list[tuple[Play, int]]:
    """Each play with one replica; with two only some of them, unless everything is wanted."""
    return [(play, 1) for play in plays] + [
        (play, 2) for play in (plays if EVERYTHING else with_replica)
    ]


@dataclass(frozen=True)
class Scenario:
    """What is asked of one service, and what has to be so in the end."""

    program: Program
    play: Play
    """Drives the service to the end and checks it; it may die and come back at any time."""
    replicas: int = 1
    """With more than one, those that are left go on alone."""
    most: int = MOST
    declared: bool = True
    """Whether the streams are there from the beginning."""
    ends: bool = False
    """Whether the program ends by itself."""
    prepare: Callable[[Path], dict[str, Any]] | None = None
    """Makes what lies in the world's folder before the service starts; more settings for it."""


@dataclass(frozen=True)
class Attempt:
    """One world: the scenario with one crash, or with none."""

    scenario: Scenario
    life: Life
    name: str

    @property
    def first(self) -> bool:
        return self.life.crash is None or self.life.crash.point.nth == 1

    @property
    def reached(self) -> bool:
        return self.life.crash is None or self.life.crash.token.exists()


@dataclass
class Outcome:
    """What became of all worlds."""

    points: list[Point]
    failures: list[str]
    missed: list[str]
    """Crashes at the first time of an effect that did not happen: that run did not come to it."""

    def check(self, at_least: int) -> None:
        assert not self.failures, "\n\n".join(self.failures)
        assert len(self.points) >= at_least, [str(point) for point in self.points]
        first = [point for point in self.points if point.nth == 1]
        # Where blocks are cut depends on when the sealer looks: not every point is come to again.
        assert len(self.missed) * 3 <= len(first), self.missed


async def crash_everywhere(server: Server, scenario: Scenario, folder: Path) -> Outcome:
    numbers = count()

    def attempt(crash: Crash | None, name: str, scenario: Scenario = scenario) -> Attempt:
        here = folder / f"world{next(numbers)}"
        life = Life(scenario.program, server.bus(), here, crash, EVERYTHING)
        if crash is not None:
            life = replace(life, crash=replace(crash, token=here / "token"))
        return Attempt(scenario, life, name)

    dry = attempt(None, "without a crash", replace(scenario, replicas=1))
    failure = await play(dry)
    if failure:
        return Outcome([], [failure], [])
    named = points((dry.life.folder / "journal").read_text().splitlines(), scenario.most)
    ways = [True, False] if EVERYTHING else [True]
    attempts = [
        attempt(
            Crash(point, sent, Path()),
            f"{scenario.program.service} {'after' if sent else 'before'} {point}",
        )
        for point in named
        for sent in ways
    ]
    if not EVERYTHING and named:  # nothing at all was done
        first = Crash(named[0], False, Path())
        attempts.insert(0, attempt(first, f"{scenario.program.service} before {named[0]}"))
    room = asyncio.Semaphore(SIDE_BY_SIDE)
    failures = await asyncio.gather(*(play_in(room, one) for one in attempts))
    missed = [one.name for one in attempts if not one.reached and one.first]
    return Outcome(named, [failure for failure in failures if failure], missed)


async def play_in(room: asyncio.Semaphore, attempt: Attempt) -> str:
    async with room:
        return await play(attempt)


async def play(attempt: Attempt) -> str:
    """Empty where all is well; else what went wrong, and where the service's log lies."""
    scenario, life = attempt.scenario, attempt.life
    try:
        async with (
            asyncio.timeout(PATIENCE),
            world(life.bus, life.folder, scenario.declared) as here,
            supervised(prepared(attempt), here),
        ):
            await scenario.play(here)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return told(attempt, error)
    except Exception as error:
        return told(attempt, error)
    return ""


def prepared(attempt: Attempt) -> Attempt:
    life, prepare = attempt.life, attempt.scenario.prepare
    if prepare is None:
        return attempt
    program = replace(life.program, config={**life.program.config, **prepare(life.folder)})
    return replace(attempt, life=replace(life, program=program))


def told(attempt: Attempt, error: BaseException) -> str:
    where, line = "", error.__traceback__
    while line is not None:
        if "/tests/" in line.tb_frame.f_code.co_filename:
            where = f"{Path(line.tb_frame.f_code.co_filename).name}:{line.tb_lineno}"
        line = line.tb_next
    return f"{attempt.name}: {type(error).__name__} at {where}: {error}\n  {attempt.life.folder}"


@contextlib.asynccontextmanager
async def supervised(attempt: Attempt, here: World) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        keepers = [
            tasks.create_task(keep_running(attempt, here)) for _ in range(attempt.scenario.replicas)
        ]
        yield
        for keeper in keepers:
            keeper.cancel()


async def keep_running(attempt: Attempt, here: World) -> None:
    """One process after the other, as a supervisor does; of replicas only the first."""
    while True:
        process = processes.Process(target=main, args=(attempt.life,), daemon=True)
        process.start()
        try:
            await gone(process)
        finally:
            process.kill()
            process.join()
        if process.exitcode == 0 and attempt.scenario.ends:
            return
        if process.exitcode != -signal.SIGKILL:
            raise AssertionError(f"the service ended by itself with {process.exitcode}")
        here.deaths += 1
        if attempt.scenario.replicas > 1:
            return


async def gone(process: BaseProcess) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
