"""What stands for machines of their own: a network that can be cut, an engine that can restart."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.supervised import command
from benchmarks.stack import LOCAL_IMAGE

START_SECONDS = 60.0
ASKED_SECONDS = 3.0
"""Within which the shims have asked an engine that is back."""
STOP_SECONDS = 30.0


def token(number: int) -> int:
    """A byte of this process's own addresses, one for each number."""
    return 2 + (os.getpid() * 4 + number) % 250


@dataclass(frozen=True, slots=True)
class Network:
    """A network namespace that reaches this machine by one link."""

    name: str
    host: str
    """This machine's address, as the namespace sees it."""
    link: str
    """The namespace's end."""

    @property
    def enter(self) -> tuple[str, ...]:
        """What runs a command inside: nothing else of the machine is hidden from it."""
        return ("nsenter", f"--net=/run/netns/{self.name}")

    async def cut(self) -> None:
        await command("ip", "-n", self.name, "link", "set", self.link, "down")

    async def mend(self) -> None:
        await command("ip", "-n", self.name, "link", "set", self.link, "up")


@asynccontextmanager
async def own_network() -> AsyncIterator[Network]:
    name, ours, theirs = f"stk{os.getpid()}", f"sth{os.getpid()}", f"stn{os.getpid()}"
    net = f"10.213.{token(0)}"
    network = Network(name, f"{net}.1", theirs)
    try:
        await command("ip", "netns", "add", name)
        await command("ip", "link", "add", ours, "type", "veth", "peer", theirs, "netns", name)
        await command("ip", "addr", "add", f"{net}.1/24", "dev", ours)
        await command("ip", "link", "set", ours, "up")
        await command("ip", "-n", name, "addr", "add", f"{net}.2/24", "dev", theirs)
        await command("ip", "-n", name, "link", "set", "lo", "up")
        await network.mend()
        yield network
    finally:
        forget(("ip", "link", "del", ours), ("ip", "netns", "del", name))


def forget(*commands: tuple[str, ...]) -> None:
    """Also while everything is being cancelled: short, and whatever they say."""
    for words in commands:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(words, capture_output=True, timeout=20, check=False)


class PrivateEngine:
    """A dockerd with everything of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bridge = f"stb{os.getpid()}"
        self._config = folder / "daemon.json"
        self._process: asyncio.subprocess.Process | None = None
        self.lock = asyncio.Lock()
        """Held while it is restarted."""

    @property
    def socket(self) -> str:
        return f"unix://{self._folder}/docker.sock"

    async def open(self) -> None:
        self._folder.mkdir(parents=True)
        await command("ip", "link", "add", self._bridge, "type", "bridge")
        await command("ip", "addr", "add", f"10.214.{token(1)}.1/24", "dev", self._bridge)
        self._configure(live_restore=True)
        await self.start()
        await self._load()

    async def _load(self) -> None:
        """The base image, from the machine's own engine."""
        tar = str(self._folder / "base.tar")
        await command("docker", "save", "-o", tar, LOCAL_IMAGE, seconds=120)
        await command("docker", "-H", self.socket, "load", "-i", tar, seconds=120)
        Path(tar).unlink()

    def _configure(self, *, live_restore: bool) -> None:
        self._config.write_text(json.dumps({"live-restore": live_restore}))

    async def start(self) -> None:
        folder = self._folder
        with (folder / "dockerd.log").open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                "dockerd",
                *("--config-file", str(self._config), "--host", self.socket),
                *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
                *("--pidfile", str(folder / "docker.pid"), "--bridge", self._bridge),
                *("--iptables=false", "--ip-masq=false", "--shutdown-timeout", "5"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        async with asyncio.timeout(START_SECONDS):
            while not await self._answers():
                if self._process.returncode is not None:
                    raise RuntimeError(f"dockerd ended; {folder}/dockerd.log says why")
                await asyncio.sleep(0.1)

    async def _answers(self) -> bool:
        try:
            await command("docker", "-H", self.socket, "version", seconds=5)
        except (RuntimeError, TimeoutError):
            return False
        return True

    async def restart(self, *, live_restore: bool, pause: float) -> None:
        """SIGTERM, ``pause`` seconds, start; containers stay where ``live_restore`` says so.

        It runs with live-restore, but for a stop without and a moment after it, in which shims ask
        what became of their containers: how programs print is settled when they start.
        """
        async with self.lock:
            assert self._process is not None
            self._configure(live_restore=live_restore)
            self._process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.5)
            await self._end()
            await asyncio.sleep(pause)
            await self.start()
            if not live_restore:
                await asyncio.sleep(ASKED_SECONDS)
                self._configure(live_restore=True)
                self._process.send_signal(signal.SIGHUP)

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def close(self) -> None:
        """Its containers, itself, and what it mounted."""
        try:
            if self._process is not None and self._process.returncode is not None:
                await self.start()
            left = (await command("docker", "-H", self.socket, "ps", "-aq")).split()
            if left:
                await command("docker", "-H", self.socket, "rm", "-f", *left)
        except (RuntimeError, TimeoutError):
            pass
        finally:
            await self._end()
            data = str(self._folder / "data")  # mounted on itself where containers may outlive it
            forget(("ip", "link", "del", self._bridge), ("umount", "--lazy", data))
            self._end_containerd()

    def _end_containerd(self) -> None:
        """Where the daemon was killed, its own containerd is left."""
        with suppress(OSError, ValueError):
            pid = int((self._folder / "exec/containerd/containerd.pid").read_text())
            if str(self._folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def private_engine(folder: Path) -> AsyncIterator[PrivateEngine]:
    engine = PrivateEngine(folder)
    try:
        await engine.open()
        yield engine
    finally:
        await engine.close()
