"""How does BuildKit build an image? Through the docker command, which alone speaks its protocol.

Its cache mounts are kept between builds, and whoever can write to one decides what the next build
finds in it: each owner has a namespace of their own, whose name nobody else can know.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.commands import KILL_SECONDS, READ_BYTES, run_command
from agent.runtimes.docker_engine import EngineError

COMMAND = "docker"
PROBE_SECONDS = 20.0
BUILT_IN_UNTIL = 23
"""Before this version the command has BuildKit's client in itself; since then, as a plugin."""
NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
SALT_BYTES = 32
UNSUPPORTED = re.compile(
    r"buildkit (?:is )?not supported|BuildKit is enabled but|unknown flag|is not a docker command"
    r"|no builder|driver not connecting",
    re.IGNORECASE,
)
PRINTED = re.compile(r"^#\d+ \d+\.\d+ (?P<text>.*)$")
STEP = re.compile(r"^#\d+ (?:\[(?!internal\]|auth\]).*|CACHED)$")
FAILED = re.compile(r"^(?:#\d+ )?ERROR: (?P<text>.*)$")
OWN = re.compile(r"^(?:#\d+ .*|-{4,}|)$")
LONGEST = 64 << 10
"""Bytes of a line without an end."""

Hear = Callable[[bytes], None]


class NoBuildKit(Exception):
    """It cannot be used here; the message says why."""


@dataclass(frozen=True, slots=True)
class Order:
    """One image to build."""

    name: str
    dockerfile: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    owner: str
    """Whose cache mounts it gets."""
    context: Callable[[], Iterable[bytes]]


class BuildKit:
    """Of one engine."""

    def __init__(self, socket: str, folder: Path, command: str = COMMAND) -> None:
        """``folder``: for the command's own settings, and the salt of the namespaces."""
        self._socket = socket
        self._folder = folder
        self._command = command
        self._client: tuple[str, ...] | None = None
        self._why_not = ""

    async def build(
        self, order: Order, logins: Path | None, progress: Progress, seconds: float
    ) -> None:
        """Raises ``NoBuildKit`` before anything is built, and ``EngineError``.

        Cancelled or out of time, the build ends too.
        """
        client = await self._usable()
        await asyncio.to_thread(self._settle, logins)
        namespace = await asyncio.to_thread(self._namespace, order.owner)
        command = [*client, *flags(order, namespace), "-"]
        code = await self._run(command, order.context(), progress, seconds)
        if code == 0:
            return
        if UNSUPPORTED.search(progress.said) and not progress.began:
            self._why_not = progress.said
            raise NoBuildKit(progress.said)
        raise EngineError(500, progress.error or progress.said or f"docker build ended with {code}")

    async def _usable(self) -> tuple[str, ...]:
        if self._why_not:
            raise NoBuildKit(self._why_not)
        if self._client is None:
            try:
                self._client = await self._found()
            except NoBuildKit as error:
                self._why_not = str(error)
                raise
        return self._client

    async def _found(self) -> tuple[str, ...]:
        path = shutil.which(self._command)
        if path is None:
            raise NoBuildKit(f"there is no command {self._command}")
        docker = (path, "--host", f"unix://{self._socket}")
        await asyncio.to_thread(self._settle, None)
        if (await self._asked(path, "buildx", "version"))[0] == 0:
            return (*docker, "buildx", "build", "--builder", "default", "--load")
        code, told = await self._asked(*docker, "version", "--format", "{{.Client.Version}}")
        major = told.partition(".")[0]
        if code == 0 and major.isdigit() and int(major) < BUILT_IN_UNTIL:
            return (*docker, "build")
        raise NoBuildKit("the docker command has no buildx")

    async def _asked(self, *command: str) -> tuple[int, str]:
        said = bytearray()
        try:
            code = await run_command(
                command, self._folder, said.extend, PROBE_SECONDS, self._environment()
            )
        except (OSError, TimeoutError) as error:
            return 1, str(error)
        return code, said.decode(errors="replace").strip()

    async def _run(
        self, command: list[str], context: Iterable[bytes], progress: Progress, seconds: float
    ) -> int:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            env=self._environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        feeding = asyncio.ensure_future(feed(process.stdin, iter(context)))
        try:
            async with asyncio.timeout(seconds):
                while data := await process.stdout.read(READ_BYTES):
                    progress.take(data)
                progress.end()
                await feeding
                return await process.wait()
        except TimeoutError as error:
            detail = f"it took longer than the {seconds:g} s that it may take"
            raise EngineError(500, detail) from error
        finally:
            feeding.cancel()
            await asyncio.shield(ended(process))
            await asyncio.gather(feeding, return_exceptions=True)

    def _environment(self) -> dict[str, str]:
        """Nothing of the agent's own, which may hold passwords."""
        folder = str(self._folder)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": folder,
            "DOCKER_CONFIG": folder,
            "DOCKER_BUILDKIT": "1",
            "BUILDKIT_PROGRESS": "plain",
        }

    def _settle(self, logins: Path | None) -> None:
        """The command's own file of passwords: for images that only the Dockerfile names."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = self._folder / "config.json"
        if logins is None:
            file.unlink(missing_ok=True)
            return
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as copy:
            copy.write(logins.read_bytes())

    def _namespace(self, owner: str) -> str:
        file = self._folder / "salt"
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as fresh:
                fresh.write(secrets.token_bytes(SALT_BYTES))
        return hmac.new(file.read_bytes(), owner.encode(), hashlib.sha256).hexdigest()[:32]


def flags(order: Order, namespace: str) -> list[str]:
    arguments = {**order.arguments, NAMESPACE: namespace}
    return [
        "--progress=plain",
        f"--file={order.dockerfile}",
        f"--tag={order.name}",
        *(f"--label={name}={value}" for name, value in order.labels.items()),
        *(f"--build-arg={name}={value}" for name, value in arguments.items()),
    ]


async def feed(stdin: asyncio.StreamWriter, context: Iterator[bytes]) -> None:
    """The tar, as fast as it is taken; whoever ends early takes no more."""
    with contextlib.suppress(ConnectionError):
        while (block := await asyncio.to_thread(next, context, None)) is not None:
            stdin.write(block)
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def ended(process: asyncio.subprocess.Process) -> None:
    """The command is gone, and with it what it waits for."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_SECONDS):
            await process.wait()


class Progress:
    """Takes what the command prints apart: what steps print, and what BuildKit says of them."""

    def __init__(self, printed: Hear, told: Hear) -> None:
        self._printed = printed
        self._told = told
        self._rest = b""
        self.began = False
        """Whether a step was begun."""
        self.error = ""
        """Of a step, in BuildKit's words."""
        self.said = ""
        """The last line that is none of a step's."""

    def take(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > LONGEST:
            lines.append(rest)
            rest = b""
        self._rest = rest
        for line in lines:
            self._line(line.decode(errors="replace").rstrip("\r"))

    def end(self) -> None:
        if self._rest:
            self.take(b"\n")

    def _line(self, text: str) -> None:
        if found := PRINTED.match(text):
            self.began = True
            self._printed(f"{found['text']}\n".encode())
        elif STEP.match(text):
            self.began = True
            self._printed(f"{text}\n".encode())
        elif found := FAILED.match(text):
            self.error = found["text"]
            self._told(f"{found['text']}\n".encode())
        elif not OWN.match(text):
            self.said = text.strip()
            self._told(f"{text}\n".encode())
