"""Which processes descend from this one, and what do they use?"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.runtimes.protocol import Use

PAGE = os.sysconf("SC_PAGESIZE")
FOLDER_LINKS = 2
"""Links of a folder in /proc beside those of the folders in it."""
KILL_ROUNDS = 50
"""What is killed may have had children meanwhile; not for ever."""


def tree_use(most: int) -> Use:
    """Of all below this process. The memory of more than ``most`` processes is not measured."""
    pids = list(descendants(os.getpid()))
    processes = sum(map(threads, pids))
    memory = tree_memory(pids) if processes <= most else 0
    return Use(memory=memory, processes=processes, peak=memory)


def kill_tree() -> None:
    """All below this process, those that appear meanwhile included."""
    killed: set[int] = set()
    for _ in range(KILL_ROUNDS):
        # All are listed before the first dies: what it leaves would be looked for below it.
        found = set(descendants(os.getpid())) - killed
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found


def reap_strays(own: int) -> None:
    """What became this process's child when its parent ended, but for ``own``."""
    for child in children(os.getpid()):
        if child != own:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)


def descendants(pid: int) -> Iterator[int]:
    """All processes below ``pid``, without a scan of the whole machine where /proc allows it."""
    if sys.platform != "linux":
        yield from scanned_descendants(pid)
        return
    parents = [pid]
    while parents:
        for child in children(parents.pop()):
            yield child
            parents.append(child)


def children(pid: int) -> list[int]:
    """Of each of its threads."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            path = f"/proc/{pid}/task/{thread}/children"
            with contextlib.suppress(OSError), open(path, "rb") as file:
                found += map(int, file.read().split())
    return found


def scanned_descendants(pid: int) -> Iterator[int]:
    import psutil  # only where there is no /proc

    with contextlib.suppress(psutil.Error):
        yield from (child.pid for child in psutil.Process(pid).children(recursive=True))


def threads(pid: int) -> int:
    """At least 1: where the system does not tell, the process alone counts."""
    try:
        return max(1, os.stat(f"/proc/{pid}/task").st_nlink - FOLDER_LINKS)
    except OSError:
        return 1


def tree_memory(pids: list[int]) -> int:
    """Resident bytes; what several share is counted once where there are several."""
    return sum(map(resident if len(pids) < 2 else private_and_share, pids))


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0 if sys.platform == "linux" else scanned_resident(pid)


def scanned_resident(pid: int) -> int:
    import psutil  # only where there is no /proc

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def private_and_share(pid: int) -> int:
    """The proportional set size: pages that forked workers share are divided among them."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
        return int(rollup.split(b"Pss:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return resident(pid)
