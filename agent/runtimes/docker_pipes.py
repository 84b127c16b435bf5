"""How does a container's output reach its shim with no engine in between? Through two FIFOs.

What a container prints into what the engine gave it passes through the engine: whatever that had
read and not passed on is gone when it is restarted, also where its containers live on. So a shell
opens FIFOs of the shim's and becomes the program; where it cannot, the program prints to the
engine, as it does where the agent knows that these FIFOs would not be the machine's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.runtimes.protocol import Launch
from schemas.stream import Stream

INSIDE = "/run/stoker"
"""Where the FIFOs lie in the container. Mounted read-only: one can be written to all the same."""
NAMES = {Stream.STDOUT: "out", Stream.STDERR: "err"}
# Opened for reading too: so opening never waits, and nobody gets a SIGPIPE from a shim that died.
# `command` keeps a shell alive whose redirection failed.
SCRIPT = (
    f"{{ command exec 3<>{INSIDE}/out 4<>{INSIDE}/err; }} 2>/dev/null"
    ' && exec "$@" >&3 2>&4 3>&- 4>&-; exec "$@"'
)
PIPE_BYTES = 256 << 10


def uses_pipes(launch: Launch) -> bool:
    """The agent says so where the image has a shell, and the engine is of this very machine."""
    return bool(launch.details.get("pipes"))


def through_pipes(command: Sequence[str]) -> list[str]:
    return ["/bin/sh", "-c", SCRIPT, "sh", *command]


def mount(launch: Launch) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(folder(launch)), "Target": INSIDE, "ReadOnly": True}


def folder(launch: Launch) -> Path:
    return place_of(Path(launch.folder))


def place_of(attempt: Path) -> Path:
    return attempt / "pipes"


def make_pipes(attempt: Path, user: str) -> None:
    """By the agent, for the shim may have no right to give files away. Raises ``OSError``.

    The job's user writes; whoever is of the agent's group reads.
    """
    place = place_of(attempt)
    place.mkdir(exist_ok=True)
    place.chmod(0o711)
    for name in NAMES.values():
        with contextlib.suppress(FileExistsError):
            os.mkfifo(place / name)
        os.chmod(place / name, 0o640)
        if os.getuid() == 0:
            os.chown(place / name, int(user.partition(":")[0]), os.getgid())


class Pipe:
    """The reading end of one FIFO."""

    def __init__(self, path: Path, stream: Stream) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._stream = stream
        self._opened = False
        """By the program: before that, nothing to read is not the end."""
        self.over = False
        """The program has ended: nobody will open it any more."""
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def lasting(self) -> bool:
        return self._opened

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> Sequence[tuple[Stream, bytes]] | None:
        try:
            data = os.read(self._descriptor, PIPE_BYTES)
        except BlockingIOError:
            self._opened = True
            return ()
        if data:
            self._opened = True
            return ((self._stream, data),)
        return None if self._opened or self.over else ()

    def close(self) -> None:
        os.close(self._descriptor)


def open_pipes(launch: Launch) -> tuple[Pipe, ...]:
    """None where the agent wants none. Raises ``OSError``."""
    opened: list[Pipe] = []
    try:
        for stream, name in NAMES.items() if uses_pipes(launch) else ():
            opened.append(Pipe(folder(launch) / name, stream))
    except BaseException:
        close_pipes(opened)
        raise
    return tuple(opened)


def close_pipes(pipes: Sequence[Pipe]) -> None:
    for pipe in pipes:
        pipe.close()
