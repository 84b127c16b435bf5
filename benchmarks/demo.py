"""How soon does a fresh clone reach its first training line?"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import docker

from benchmarks.stack import ROOT, environment
from benchmarks.table import Figure

BARS = {"process": 30.0, "docker": 60.0}
WARM_BAR = 5.0
"""Seconds."""
TRAINING_LINE = re.compile(rb"epoch +\d+/\d+ +loss")
"""Of examples/digits."""
LONGEST = 180.0


async def fresh_clone() -> list[Figure]:
    figures = []
    for runtime in runtimes():
        folder = Path(tempfile.mkdtemp(prefix="stoker-demo-"))
        try:
            await cloned(folder / "stoker")
            own_environment(folder / "stoker")
            cold = await first_training_line(folder / "stoker", runtime)
            warm = await first_training_line(folder / "stoker", runtime)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        figures += [
            Figure(f"make demo, fresh clone → training line, {runtime}", cold, "s", BARS[runtime]),
            Figure(f"make demo, second run → training line, {runtime}", warm, "s", WARM_BAR),
        ]
    return figures


def runtimes() -> tuple[str, ...]:
    try:
        docker.from_env(timeout=5).ping()
    except docker.errors.DockerException:
        return ("process",)
    return ("process", "docker")


async def cloned(folder: Path) -> None:
    git = await asyncio.create_subprocess_exec(
        "git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)
    )
    if await git.wait():
        raise RuntimeError("the clone failed")


def own_environment(clone: Path) -> None:
    """A key of its own, so that no image of an earlier run serves this one."""
    with (clone / "examples" / "digits" / "requirements.txt").open("a") as file:
        file.write(f"# {clone}\n")


async def first_training_line(clone: Path, runtime: str) -> float:
    """Seconds from ``make demo`` to the line; the demo is stopped right after it."""
    begun = time.perf_counter()
    demo = await asyncio.create_subprocess_exec(
        *("make", "demo", f"ARGS=--runtime {runtime} --port 0 --no-browser"),
        cwd=clone,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        env=environment(),
    )
    seen = bytearray()
    try:
        async with asyncio.timeout(LONGEST):
            while not TRAINING_LINE.search(seen):
                part = await demo.stdout.read(65536) if demo.stdout else b""
                if not part:
                    raise RuntimeError(f"the demo ended: {seen[-2000:].decode(errors='replace')}")
                seen += part
            return time.perf_counter() - begun
    except TimeoutError:
        raise RuntimeError(f"no training line: {seen[-2000:].decode(errors='replace')}") from None
    finally:
        await stopped(demo)


async def stopped(demo: asyncio.subprocess.Process) -> None:
    """SIGINT to the whole session, as Ctrl-C does; SIGKILL where that does not help."""
    for sign, seconds in ((signal.SIGINT, 20), (signal.SIGKILL, 5)):
        if demo.returncode is not None:
            return
        os.killpg(demo.pid, sign)
        try:
            async with asyncio.timeout(seconds):
                while demo.stdout and await demo.stdout.read(65536):
                    pass
                await demo.wait()
        except TimeoutError:
            continue
