"""What lies in an attempt's folder, and under which name?

Agent and shim meet here and nowhere else. Few files: each costs a short job as much as a message on
the bus, so that what is written once, by one after the other, shares one file, the notes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import msgpack

STARTED, PRINTED, ENDED = b"s", b"p", b"e"
"""What a shim writes into the wake FIFO."""


GET_FLAGS, SET_FLAGS, TOP_FOLDER = 0x80086601, 0x40086602, 0x00020000
"""Linux: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL."""


class Note(StrEnum):
    """What the notes of an attempt hold, in the order in which it comes about."""

    GRANT = "grant"
    LAUNCH = "launch"
    STARTED = "started"
    """By the shim: when and what it started. None is started after ``VOID``."""
    UNSEEN = "unseen"
    """By the shim: why it does not see the program any more; empty when it does again."""
    EXIT = "exit"
    """By the shim, its last word."""
    VOID = "void"
    """By an agent that found no shim: a late one must not start the program any more."""


@dataclass(frozen=True)
class AttemptFolder:
    """``attempts/<job>.<attempt>/``. Attributes are paths; there is no I/O in them."""

    path: Path

    @cached_property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def job(self) -> Path:
        """The attempt's own copy of the bundle: the program's working directory."""
        return self.path / "job"

    @cached_property
    def outputs(self) -> Path:
        return self.path / "outputs"

    @cached_property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @cached_property
    def stop(self) -> Path:
        """Where the program finds why it is being stopped; it cannot write there."""
        return self.path / "stop"

    @property
    def spool(self) -> Path:
        """Its segments lie between the other files."""
        return self.path

    @cached_property
    def notes(self) -> str:
        """Its flock is held for as long as the shim lives."""
        return f"{self.path}/notes.msgpack"

    @cached_property
    def control(self) -> str:
        """FIFO to the shim: lines ``stop <grace> <reason>``."""
        return f"{self.path}/control"

    @cached_property
    def wake(self) -> str:
        """FIFO to the agent: ``STARTED``, ``PRINTED``, ``ENDED``; its end is the shim's."""
        return f"{self.path}/wake"

    @cached_property
    def secrets(self) -> str:
        """FIFO to the shim: what the job's secrets are. Only where it has some."""
        return f"{self.path}/secrets"

    @cached_property
    def end(self) -> str:
        """The end as it is reported, where the shim's exit does not say it all."""
        return f"{self.path}/end.msgpack"

    @cached_property
    def shim_log(self) -> str:
        """What the shim itself had to say: tracebacks."""
        return f"{self.path}/shim.log"

    def add_note(self, note: Note, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.notes, flags, 0o600)
        try:
            os.write(descriptor, packed_note(note, data))
        finally:
            os.close(descriptor)

    def read_notes(self) -> dict[Note, bytes]:
        """A torn last one, from a crash, is left out."""
        reader = msgpack.Unpacker(read_size=8192)
        reader.feed(read_if_there(self.notes) or b"")
        found: dict[Note, bytes] = {}
        try:
            for note, data in reader:
                found[Note(note)] = data
        except (ValueError, TypeError):
            return found
        return found

    def exit(self) -> bytes | None:
        """The packed ``Exit`` that the shim wrote down."""
        return self.read_notes().get(Note.EXIT)

    def started(self) -> dict[str, Any] | None:
        """``at`` (Unix seconds) and ``identity`` of the program; None where it never started."""
        data = self.read_notes().get(Note.STARTED)
        found: dict[str, Any] | None = msgpack.unpackb(data) if data else None
        return found

    def unseen(self) -> str:
        """Why the shim lost sight of the program; empty where it did not."""
        return self.read_notes().get(Note.UNSEEN, b"").decode()

    def launched(self) -> bool:
        """Whether a shim was asked for."""
        return Note.LAUNCH in self.read_notes()

    def shim_lives(self) -> bool:
        descriptor = self._locked_notes()
        if descriptor is None:
            return os.path.exists(self.notes)
        os.close(descriptor)
        return False

    def void(self) -> bool:
        """Lets no shim start the program any more; False where one lives that may have."""
        descriptor = self._locked_notes()
        if descriptor is None:
            return not os.path.exists(self.notes)
        os.write(descriptor, packed_note(Note.VOID, b""))
        os.close(descriptor)
        return True

    def _locked_notes(self) -> int | None:
        """A descriptor that holds the lock; None where a shim holds it, or nothing is there."""
        try:
            descriptor = os.open(self.notes, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor


def packed_note(note: Note, data: bytes) -> bytes:
    packed: bytes = msgpack.packb((note.value, data), use_bin_type=True)
    return packed


def write_atomic(path: str, data: bytes) -> None:
    """Whole or not at all; readable by nobody else."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)


def read_if_there(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def spread(folder: Path) -> None:
    """Asks ext4 to put each folder in this one into a block group of its own.

    An ext4 without a journal does not reuse inodes that were freed in the last minutes: where many
    short attempts come and go in one group, making a file takes milliseconds. Other file systems
    refuse the flag.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            flags = struct.unpack("l", fcntl.ioctl(descriptor, GET_FLAGS, bytes(8)))[0]
            fcntl.ioctl(descriptor, SET_FLAGS, struct.pack("l", flags | TOP_FOLDER))
        finally:
            os.close(descriptor)
