"""How do an attempt's secrets get from the agent to its shim? Through a FIFO: never onto a disk.

What lies in a FIFO lies in the kernel's memory, and goes with the last who has it open: an agent
that dies in between leaves nothing behind, and its successor hands them over once more. Imports
nothing heavy: it is loaded into the shim host.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import select
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgpack

from schemas.reason import Reason

HEAD = struct.Struct(">I32s")
"""Size and sha256 of what follows: two agents may have written, and one of them died."""
MOST = 4 << 20
"""Bytes of all of an attempt's secrets, and some more."""
PIPE_BYTES = 1 << 20
WAIT_SECONDS = 60.0
"""How long a shim waits: an agent may be restarted meanwhile."""
AGAIN = 0.05
"""Seconds between two looks while nobody has the other end."""


class NotHanded(Exception):
    """They did not come."""

    reason = Reason.AGENT_ERROR


@dataclass(frozen=True, slots=True)
class Secrets:
    """Of one attempt; in memory alone."""

    values: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Name of a secret to its value."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variable to name."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path in a container to name."""
    image_login: str = field(default="", repr=False)
    """``USER:PASSWORD`` at the registry of its image: for the agent alone, never handed over."""

    def __bool__(self) -> bool:
        return bool(self.values)

    def environment(self) -> dict[str, bytes]:
        return {variable: self.values[name] for variable, name in self.variables.items()}

    def texts_by_variable(self) -> dict[str, str]:
        """For what the agent itself does with them."""
        return {
            name: value.decode("utf-8", "replace") for name, value in self.environment().items()
        }

    def contents(self) -> dict[str, bytes]:
        return {path: self.values[name] for path, name in self.files.items()}

    def texts(self) -> dict[str, str]:
        """To be looked for in what is printed."""
        texts = {
            name: value.decode("utf-8", "surrogateescape") for name, value in self.values.items()
        }
        if self.image_login:
            # Line by line: the password alone is one, too.
            texts["image_secret"] = f"{self.image_login}\n{self.image_login.partition(':')[2]}"
        return texts

    def pack(self) -> bytes:
        body: bytes = msgpack.packb((self.values, self.variables, self.files), use_bin_type=True)
        return HEAD.pack(len(body), hashlib.sha256(body).digest()) + body


NONE = Secrets()


def make_fifo(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(path, 0o600)


def open_to_hand(path: str) -> int:
    """Both ways: opening never waits, and what was written stays until it is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor


def take(path: str, seconds: float = WAIT_SECONDS) -> Secrets:
    """In the shim: what the agent hands over. Raises ``NotHanded``. Blocking."""
    give_up = time.monotonic() + seconds
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotHanded(f"no way to hand secrets over: {error.strerror}") from error
    try:
        return unpack(read_frame(descriptor, give_up))
    finally:
        os.close(descriptor)


def read_frame(descriptor: int, give_up: float) -> bytes:
    data = b""
    while True:
        left = give_up - time.monotonic()
        if left <= 0:
            raise NotHanded("the agent did not hand over the job's secrets")
        select.select([descriptor], [], [], left)
        try:
            piece = os.read(descriptor, PIPE_BYTES)
        except BlockingIOError:
            continue
        if not piece:
            # Nobody has the other end: whoever comes next begins anew.
            data = b""
            time.sleep(AGAIN)
            continue
        data += piece
        if whole(data):
            return data


def whole(data: bytes) -> bool:
    if len(data) < HEAD.size:
        return False
    size: int = HEAD.unpack_from(data)[0]
    if size > MOST:
        raise NotHanded("what was handed over is no job's secrets")
    return len(data) >= HEAD.size + size


def unpack(data: bytes) -> Secrets:
    size, digest = HEAD.unpack_from(data)
    body = data[HEAD.size : HEAD.size + size]
    if hashlib.sha256(body).digest() != digest:
        raise NotHanded("two agents handed the job's secrets over at one time")
    values, variables, files = msgpack.unpackb(body)
    return Secrets(values, variables, files)
