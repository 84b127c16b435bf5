"""Where is the virtual environment that a bundle asks for, and how is it built?

``environments/<key>/``, built in place because scripts of packages hold their own absolute path;
``complete`` in it says that it is whole. What has no such file is removed and built anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import platform
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from agent.caches import COMPLETE, clean
from agent.commands import run_command
from agent.runtimes.choice import CONDA, Choice
from agent.runtimes.failing_lines import FailingLines
from agent.runtimes.listing import LIST
from agent.runtimes.process_build import (
    TOOLS,
    UV_CACHE,
    Command,
    Interpreter,
    build_commands,
    home_of,
)
from agent.runtimes.protocol import CannotPrepare, Output
from agent.surplus import Rule
from agent.written import written
from schemas.reason import Reason
from schemas.stream import Stream

log = logging.getLogger(__name__)

BUILD_SECONDS = 3600.0
LIST_SECONDS = 30.0
PACKAGES = "packages.txt"
ENVIRONMENTS_KEPT = 32
LITTLE_SPACE = 32 << 20
"""Bytes free below which a failed build is put down to the full disk."""


@dataclass(frozen=True, slots=True)
class Built:
    path: Path
    key: str
    cached: bool

    @property
    def home(self) -> Path:
        """Where its ``bin`` is."""
        return home_of(self.path)

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    async def packages(self) -> str:
        """As they were listed when it was built; empty where nobody knows."""
        try:
            return await asyncio.to_thread((self.path / PACKAGES).read_text)
        except (OSError, UnicodeDecodeError):
            return ""


class Environments:
    """All virtual environments of one agent. One build per key at a time."""

    def __init__(self, root: Path, kept: int = ENVIRONMENTS_KEPT) -> None:
        self._root = root
        self._kept = kept
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(
        self,
        choice: Choice,
        interpreter: Interpreter,
        bundle: tuple[str, Path],
        in_use: Iterable[str],
        output: Output,
    ) -> Built:
        """``bundle``: digest and folder. Raises ``CannotPrepare``."""
        key = environment_key(choice, interpreter, bundle[0])
        path = self._root / key
        if used(path):
            return Built(path, key, cached=True)
        lock = self._locks[key]
        if lock.locked():
            say(output, "another job builds this environment: waiting for it")
        async with lock:
            if used(path):
                return Built(path, key, cached=True)
            await self._build(path, choice, interpreter, bundle[1], output)
        await self.clean({*in_use, key}, 0)
        return Built(path, key, cached=False)

    async def _build(
        self, path: Path, choice: Choice, interpreter: Interpreter, bundle: Path, output: Output
    ) -> None:
        try:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
            path.mkdir(mode=0o755, parents=True)
            sources = await asyncio.to_thread(lay_out, path, choice, bundle)
            for command in build_commands(path, interpreter, choice):
                await self._run(command, sources, output)
            await self._list(path)
            for folder in (TOOLS, UV_CACHE):
                await asyncio.to_thread(shutil.rmtree, path / folder, ignore_errors=True)
            (path / COMPLETE).touch()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = Reason.DISK_FULL if full else Reason.AGENT_ERROR
            raise CannotPrepare(f"building the environment: {error}", reason) from error
        finally:
            if not (path / COMPLETE).exists():
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, path, ignore_errors=True))

    async def _list(self, path: Path) -> None:
        """What is installed in it now, for whoever wants to run the job again."""
        printed = bytearray()
        python = str(home_of(path) / "bin" / "python")
        with contextlib.suppress(TimeoutError):
            words = [python, "-W", "ignore", "-c", LIST]
            if await run_command(words, path, printed.extend, LIST_SECONDS) == 0:
                (path / PACKAGES).write_bytes(bytes(printed))

    async def _run(self, command: Command, cwd: Path, output: Output) -> None:
        failing = FailingLines()

        def hear(data: bytes) -> None:
            output(Stream.BUILD, data)
            failing.take(data)

        try:
            code = await run_command(command.words, cwd, hear, BUILD_SECONDS)
        except TimeoutError as error:
            raise CannotPrepare(f"the build took longer than {BUILD_SECONDS:g} s") from error
        if code == 0:
            return
        if shutil.disk_usage(self._root).free < LITTLE_SPACE:
            raise CannotPrepare("the disk of the worker is full", Reason.DISK_FULL)
        unknown = f"{command.name} ended with exit code {code}: see the build's output above"
        raise CannotPrepare(failing.end() or unknown)

    async def clean(self, in_use: set[str], wanted: int) -> int:
        """The longest unused go, for their number, their age or their size; how many went."""
        building = {key for key, lock in self._locks.items() if lock.locked()}
        measure = size_of if wanted else no_size
        rule = Rule(kept=self._kept, spared=0.0)
        return await asyncio.to_thread(clean, self._root, rule, in_use | building, wanted, measure)


def end_builds(root: Path) -> None:
    """Kills the builds that go on although the agent that began them was killed."""
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(root):
                log.warning("killing a build that was left: %s", process.pid)
                process.kill()
        except (psutil.Error, OSError):
            continue


def no_size(_: Path) -> int:
    return 0


def size_of(folder: Path) -> int:
    return written((folder,)).size


def say(output: Output, text: str) -> None:
    output(Stream.STOKER, f"[stoker] {text}\n".encode())


def used(path: Path) -> bool:
    """Whether the environment is whole; marks it as used now."""
    try:
        os.utime(path / COMPLETE)
    except FileNotFoundError:
        return False
    return True


def environment_key(choice: Choice, interpreter: Interpreter, digest: str) -> str:
    parts = hashlib.sha256()
    asked = (interpreter.asked,) if choice.source == CONDA and interpreter.asked else ()
    for text in (interpreter.path, interpreter.version, platform.machine(), *asked):
        parts.update(text.encode() + b"\0")
    for name, data in sorted(choice.files.items()):
        parts.update(f"{name}\0{len(data)}\0".encode() + data)
    if choice.whole:
        parts.update(digest.encode())
    return parts.hexdigest()[:32]


def lay_out(path: Path, choice: Choice, bundle: Path) -> Path:
    """Where pip runs: beside the files that it needs, which stay with the environment."""
    sources = path / "sources"
    if choice.whole:
        shutil.copytree(bundle, sources, symlinks=True)
    sources.mkdir(exist_ok=True)
    for name, data in choice.files.items():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_bytes(data)
    return sources
