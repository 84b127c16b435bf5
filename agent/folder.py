"""What lies in an attempt's folder, and under which name?"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """``attempts/<job>.<attempt>/``: where agent and shim meet. No I/O but what the names say."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def grant(self) -> Path:
        return self.path / "grant.msgpack"

    @property
    def launch(self) -> Path:
        return self.path / "launch.msgpack"

    @property
    def job(self) -> Path:
        """The attempt's own copy of the bundle: the program's working directory."""
        return self.path / "job"

    @property
    def outputs(self) -> Path:
        return self.path / "outputs"

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def control(self) -> Path:
        """FIFO to the shim: lines ``stop <grace> <reason>``."""
        return self.path / "control"

    @property
    def wake(self) -> Path:
        """FIFO to the agent: any byte says that there is news."""
        return self.path / "wake"

    @property
    def lock(self) -> Path:
        """Its flock is held for as long as the shim lives."""
        return self.path / "shim.lock"

    @property
    def started(self) -> Path:
        return self.path / "started.msgpack"

    @property
    def exit(self) -> Path:
        return self.path / "exit.msgpack"

    @property
    def end(self) -> Path:
        """The end as it is reported, until the scheduler has confirmed it."""
        return self.path / "end.msgpack"

    @property
    def shim_log(self) -> Path:
        """What the shim itself had to say: tracebacks."""
        return self.path / "shim.log"

    def shim_lives(self) -> bool:
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Whole or not at all; readable by nobody else."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)


def read_if_there(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
