"""From what is a bundle's own Dockerfile built, and what of the bundle counts for its key?"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.runtimes.build_context import chosen_context, folder_context, names_in
from agent.runtimes.choice import DOCKERFILE
from agent.runtimes.dockerfile_needs import Needs, chosen, needs_of

MOST_BYTES = 64 << 20
"""Of files that are read for the key at each start; of more, the whole bundle counts."""
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Context:
    """What the engine builds from."""

    parts: dict[str, str]
    """What of it counts for the key."""
    tar: Callable[[], Iterable[bytes]]
    whole: bool


def read_needs(files: Path) -> Needs | None:
    try:
        return needs_of((files / DOCKERFILE).read_bytes().decode())
    except UnicodeDecodeError:
        return None


def may_keep(dockerfile: bytes) -> bool:
    """Whether its steps may use what earlier builds of its owner's left in cache mounts."""
    text = dockerfile.lower()
    return b"mount" in text or b"syntax" in text


def context_of(files: Path, bundle: str, needs: Needs | None) -> Context:
    """``needs``: None where all of the bundle counts."""
    text = hashlib.sha256((files / DOCKERFILE).read_bytes()).hexdigest()
    if needs is not None:
        found = chosen(names_in(files), needs.sources)
        names = {name for some in found.values() for name in some}
        if sum(size(files / name) for name in names) <= MOST_BYTES:
            parts = {f"./{one}": digest_of(files, some) for one, some in found.items()}
            tar = partial(chosen_context, files, sorted({*names, DOCKERFILE}))
            return Context({**parts, DOCKERFILE: text}, tar, whole=False)
    parts = {DOCKERFILE: text, "the bundle": bundle}
    return Context(parts, partial(folder_context, files, {}), whole=True)


def size(path: Path) -> int:
    status = path.lstat()
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def digest_of(files: Path, names: Sequence[str]) -> str:
    """Of paths, modes and contents."""
    digest = hashlib.sha256()
    for name in names:
        path = files / name
        status = path.lstat()
        regular = stat.S_ISREG(status.st_mode)
        mode = f"{stat.S_IMODE(status.st_mode):o}" if regular else "folder"
        head = f"{name}\0{mode}\0{status.st_size if regular else 0}\0"
        digest.update(b"%d:" % len(head.encode()) + head.encode())
        if regular:
            with path.open("rb") as file:
                while block := file.read(READ_BYTES):
                    digest.update(block)
    return digest.hexdigest()
