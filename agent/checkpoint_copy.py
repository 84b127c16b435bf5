"""How is what lies in a folder held still while it is sent? Copied beside it, in pieces.

On the same file system, where the kernel copies by itself (and some systems copy nothing at all),
so that it takes a fraction of the time that sending does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.output_scan import Found, opened
from agent.to_the_end import to_the_end

PIECE = 32 << 20
"""Bytes between two moments at which it can be cancelled."""
BUFFER = 1 << 20
NOT_HERE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""The system cannot copy by itself between these two."""
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Changed(Exception):
    """A file is not as it was when it was found."""


async def copy_files(root: str, files: Iterable[Found], target: Path) -> None:
    """Raises ``Changed`` and ``OSError``; what was copied so far stays for ``drop_copy``."""
    await asyncio.to_thread(drop_copy, target)
    for found in files:
        place = target / found.path
        await asyncio.to_thread(os.makedirs, place.parent, 0o700, exist_ok=True)
        with both(root, found, place) as (source, copy):
            if Found.of(found.path, os.fstat(source)) != found:
                raise Changed(found.path)
            left = found.size
            while left:
                done = await to_the_end(copy_piece, source, copy, min(left, PIECE))
                if not done:
                    raise Changed(found.path)
                left -= done
            if Found.of(found.path, os.fstat(source)) != found:
                raise Changed(found.path)


@contextlib.contextmanager
def both(root: str, found: Found, place: Path) -> Iterator[tuple[int, int]]:
    """What it is copied from and to."""
    with opened(root, found.path) as source:
        copy = os.open(place, NEW, 0o600)
        try:
            yield source, copy
        finally:
            os.close(copy)


def copy_piece(source: int, copy: int, size: int) -> int:
    """From where both stand; how many bytes, fewer than ``size`` only at the end."""
    done = 0
    while done < size:
        try:
            some = os.copy_file_range(source, copy, size - done)
        except (OSError, AttributeError) as error:
            if isinstance(error, OSError) and error.errno not in NOT_HERE:
                raise
            some = copy_by_hand(source, copy, min(BUFFER, size - done))
        if not some:
            break
        done += some
    return done


def copy_by_hand(source: int, copy: int, size: int) -> int:
    data = os.read(source, size)
    view = memoryview(data)
    while view:
        view = view[os.write(copy, view) :]
    return len(data)


def drop_copy(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
