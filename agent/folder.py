"""What lies in an attempt's folder, and under which name?"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgpack

STARTED, PRINTED, ENDED = b"s", b"p", b"e"
"""What a shim writes into the wake FIFO."""


@dataclass(frozen=True)
class AttemptFolder:
    """``attempts/<job>.<attempt>/``: where agent and shim meet. No I/O but what the names say.

    Few files: each costs a short job as much as a message on the bus.
    """

    path: Path

    @cached_property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def grant(self) -> Path:
        return self.path / "grant.msgpack"

    @cached_property
    def launch(self) -> Path:
        return self.path / "launch.msgpack"

    @cached_property
    def job(self) -> Path:
        """The attempt's own copy of the bundle: the program's working directory."""
        return self.path / "job"

    @cached_property
    def outputs(self) -> Path:
        return self.path / "outputs"

    @cached_property
    def spool(self) -> Path:
        """Its segments lie between the other files."""
        return self.path

    @cached_property
    def control(self) -> Path:
        """FIFO to the shim: lines ``stop <grace> <reason>``."""
        return self.path / "control"

    @cached_property
    def wake(self) -> Path:
        """FIFO to the agent: ``STARTED``, ``PRINTED``, ``ENDED``; its end is the shim's."""
        return self.path / "wake"

    @cached_property
    def lock(self) -> Path:
        """Its flock is held for as long as the shim lives; holds when and what it started."""
        return self.path / "shim.lock"

    @cached_property
    def exit(self) -> Path:
        return self.path / "exit.msgpack"

    @cached_property
    def end(self) -> Path:
        """The end as it is reported, where ``exit`` does not say it all."""
        return self.path / "end.msgpack"

    @cached_property
    def shim_log(self) -> Path:
        """What the shim itself had to say: tracebacks."""
        return self.path / "shim.log"

    def started(self) -> dict[str, Any] | None:
        """``at`` (Unix seconds) and ``identity`` of the program; None where it never started."""
        data = read_if_there(self.lock)
        try:
            found: dict[str, Any] | None = msgpack.unpackb(data) if data else None
        except ValueError:
            return None
        return found

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
    temporary = f"{path}.new"
    write_plain(temporary, data)
    os.rename(temporary, path)


def write_plain(path: str | Path, data: bytes) -> None:
    """For what nobody reads before it is told of; readable by nobody else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def read_if_there(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
