"""Where is the virtual environment that a bundle asks for, and how is it built?

``environments/<key>/``, built in place because scripts of packages hold their own absolute path;
``complete`` in it says that it is whole. What has no such file is removed and built anew.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from agent.caches import COMPLETE, clean
from agent.commands import run_command
from agent.runtimes.choice import Choice
from agent.runtimes.protocol import CannotPrepare, Output
from agent.surplus import Rule
from agent.written import written
from schemas.reason import Reason
from schemas.stream import Stream

log = logging.getLogger(__name__)

BUILD_SECONDS = 3600.0
ENVIRONMENTS_KEPT = 32
LITTLE_SPACE = 32 << 20
"""Bytes free below which a failed build is put down to the full disk."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    path: str
    version: str
    """``3.11``"""


@dataclass(frozen=True, slots=True)
class Built:
    path: Path
    key: str
    cached: bool

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"


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
            for command in build_commands(path, interpreter, bool(choice.files)):
                await self._run(command, sources, output)
            (path / COMPLETE).touch()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = Reason.DISK_FULL if full else Reason.AGENT_ERROR
            raise CannotPrepare(f"building the environment: {error}", reason) from error
        finally:
            if not (path / COMPLETE).exists():
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, path, ignore_errors=True))

    async def _run(self, command: list[str], cwd: Path, output: Output) -> None:
        try:
            code = await run_command(
                command, cwd, lambda data: output(Stream.BUILD, data), BUILD_SECONDS
            )
        except TimeoutError as error:
            raise CannotPrepare(f"the build took longer than {BUILD_SECONDS:g} s") from error
        if code == 0:
            return
        if shutil.disk_usage(self._root).free < LITTLE_SPACE:
            raise CannotPrepare("the disk of the worker is full", Reason.DISK_FULL)
        name = "pip" if "install" in command else "venv"
        raise CannotPrepare(f"{name} ended with exit code {code}: see the build's output above")

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
    for text in (interpreter.path, interpreter.version, platform.machine()):
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


def build_commands(path: Path, interpreter: Interpreter, packages: bool) -> list[list[str]]:
    """pip of the agent's own interpreter installs into the other one, where there is a pip."""
    own_pip = importlib.util.find_spec("pip") is not None
    bare = ["--without-pip"] if own_pip or not packages else []
    commands = [[interpreter.path, "-m", "venv", *bare, str(path)]]
    if packages:
        python = str(path / "bin" / "python")
        pip = (
            [sys.executable, "-m", "pip", "--python", python] if own_pip else [python, "-m", "pip"]
        )
        # Compiling all of it takes longer than the download; what is imported compiles itself.
        options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        options.append("--no-compile")
        commands.append([*pip, "install", *options, "-r", "requirements.txt"])
    return commands
