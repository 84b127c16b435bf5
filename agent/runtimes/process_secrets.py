"""Where does a plain process find secrets that are files? In a folder of a memory file system.

Readable by the agent's user alone, which is who such a job runs as. Gone with the attempt; after a
crash of both shim and agent it is removed by the next agent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from agent.handing import Secrets
from agent.runtimes.protocol import CannotLaunch
from schemas.reason import Reason

MEMORY = Path("/dev/shm")
MOUNTS = Path("/proc/self/mounts")
VARIABLE = "STOKER_SECRETS"
"""Names the folder to the program."""


def with_secrets(environment: Mapping[str, str], secrets: Secrets, place: Path) -> dict[str, str]:
    """What the program finds; its files lie in ``place`` then. Raises ``CannotLaunch``."""
    found = dict(environment)
    for variable, value in secrets.environment().items():
        found[variable] = os.fsdecode(value)
    contents = secrets.contents()
    if contents:
        write_files(place, contents)
        found[VARIABLE] = str(place)
    return found


def write_files(place: Path, contents: Mapping[str, bytes]) -> None:
    if not in_memory():
        raise CannotLaunch(
            f"{MEMORY} is no memory file system here: take the secrets as variables",
            Reason.SECRET_UNAVAILABLE,
        )
    try:
        remove(place)
        place.mkdir(mode=0o700)
        for path, data in contents.items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(place / PurePosixPath(path).name, flags, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
    except OSError as error:
        remove(place)
        raise CannotLaunch(f"secrets cannot be written to {MEMORY}: {error.strerror}") from error


def place_of(attempt: Path) -> Path:
    """By the attempt's folder: two agents of one machine do not meet."""
    return MEMORY / f"{prefix_of(attempt.parent)}{attempt.name}"


def prefix_of(attempts: Path) -> str:
    return f"stoker-secrets-{hashlib.sha256(os.fsencode(attempts)).hexdigest()[:12]}-"


def remove(place: Path) -> None:
    with contextlib.suppress(OSError):
        if place.lstat().st_uid == os.getuid():
            shutil.rmtree(place, ignore_errors=True)


def remove_strays(attempts: Path) -> int:
    """What belongs to no attempt that is there; how many folders it were."""
    prefix = prefix_of(attempts)
    removed = 0
    with contextlib.suppress(OSError):
        for place in MEMORY.glob(f"{prefix}*"):
            if not (attempts / place.name.removeprefix(prefix)).exists():
                remove(place)
                removed += 1
    return removed


def in_memory() -> bool:
    try:
        mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return False
    kinds = [kind for _, place, kind, *_ in mounts if place == str(MEMORY)]
    return kinds[-1:] == ["tmpfs"]
