"""How does a test get a whole ``stoker up``, as its user would start it?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stoker import config
from stoker.client import Client
from stoker.keeping import OWN_TOKEN

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0


@dataclass
class Up:
    """A running ``stoker up``."""

    data: Path
    process: subprocess.Popen[bytes]
    url: str
    nats: str

    @property
    def token(self) -> str:
        """Of who started it."""
        return token_of(self.data)

    @property
    def client(self) -> Client:
        return client_of(self.data, self.url)

    def stoker(
        self, *arguments: str, timeout: float = 60, cwd: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """One command against it, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "stoker", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env=self.environment,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        extra = {"STOKER_URL": self.url, "STOKER_DATA": str(self.data)}
        return {**surroundings(self.data), **extra}

    def told(self) -> str:
        return (self.data / "terminal.txt").read_text(errors="replace")


@contextmanager
def running_up(data: Path, *flags: str) -> Iterator[Up]:
    """On ports of its own; stopped at the end, by force where it must be."""
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "stoker", "up", "--data", str(data)]
    command += ["--port", "0", "--nats-port", "0", *flags]
    with (data / "terminal.txt").open("ab") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=ROOT, env=surroundings(data)
        )
    try:
        address = started(data, process)
        yield Up(data, process, address.url, address.nats)
    finally:
        stop(process)


def surroundings(data: Path) -> dict[str, str]:
    """Nothing is kept in the home folder of whoever tests."""
    kept = {"XDG_CONFIG_HOME": str(data / "config"), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return {**os.environ, **kept}


def token_of(data: Path) -> str:
    """Empty where nobody has to sign in."""
    path = data / config.KEYS / OWN_TOKEN
    return path.read_text().strip() if path.exists() else ""


def client_of(data: Path, url: str) -> Client:
    """As whoever started it; what its page shows is believed."""
    address = config.read_address(data)
    shown = address.certificate if address else ""
    return Client(url, token=token_of(data), ca=shown or None)


def started(data: Path, process: subprocess.Popen[bytes]) -> config.Address:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        address = config.read_address(data)
        if address is not None and client_of(data, address.url).workers():
            return address
        time.sleep(0.05)
    words = (data / "terminal.txt").read_text(errors="replace")
    log = data / "stoker.log"
    tail = log.read_text(errors="replace")[-3000:] if log.exists() else ""
    raise AssertionError(f"stoker up did not start:\n{words}\n{tail}")


def stop(process: subprocess.Popen[bytes]) -> int:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        return process.wait(STOP_SECONDS)
