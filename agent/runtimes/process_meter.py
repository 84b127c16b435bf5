"""What do processes use, asked of each? Of a tree of plain ones, and where no group tells.

A process that ended leaves what it used with the one that waited for it, so that the sum over those
that are there stays whole.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from agent.runtimes.process_tree import descendants, tree_memory
from agent.runtimes.usage import Usage

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
MOST_ASKED = 256
"""Processes that are asked singly; of more the first ones."""
CPU_FIELDS = slice(11, 15)
"""User and system time, its own and that of children which it waited for; behind the name."""


@dataclass(frozen=True, slots=True)
class TreeMeter:
    """Of all below a program's shim, which also inherits what the program leaves behind."""

    program: int
    born: str
    """When it began: another process with its id is another one."""
    shim: int

    def read(self) -> Usage | None:
        if birth_of(self.program) != self.born:
            return None
        under_its_shim = parent_of(self.program) == self.shim
        top = self.shim if under_its_shim else self.program
        pids = list(islice(descendants(top), MOST_ASKED))
        if not under_its_shim:
            pids.append(self.program)
        cpu = sum(map(cpu_seconds, pids)) + (waited_seconds(self.shim) if under_its_shim else 0.0)
        read, written = disk_bytes(pids) or (None, None)
        now = time.monotonic()
        return Usage(now, cpu, tree_memory(pids), read, written, pids=frozenset(pids))


def tree_meter(identity: str) -> TreeMeter | None:
    """Of a program that a shim tells as ``pid@birth``; None where it is over."""
    program, _, born = identity.partition("@")
    if not born or birth_of(int(program)) != born:
        return None
    return TreeMeter(int(program), born, parent_of(int(program)))


def stat_of(pid: int) -> list[bytes]:
    """The fields behind the name, which may hold anything; empty where it is over."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def birth_of(pid: int) -> str:
    fields = stat_of(pid)
    return fields[19].decode() if len(fields) > 19 else ""


def parent_of(pid: int) -> int:
    fields = stat_of(pid)
    return int(fields[1]) if len(fields) > 1 else 0


def cpu_seconds(pid: int) -> float:
    return sum(map(int, stat_of(pid)[CPU_FIELDS])) * TICK


def waited_seconds(pid: int) -> float:
    """Of children which it waited for, alone."""
    return sum(map(int, stat_of(pid)[13:15])) * TICK


def disk_bytes(pids: Iterable[int]) -> tuple[int, int] | None:
    """Read and written; None where somebody may not look."""
    read = written = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/io", "rb") as file:
                fields = dict(line.split(b": ") for line in file.read().splitlines())
        except PermissionError:
            return None
        except OSError:
            continue
        with contextlib.suppress(KeyError, ValueError):
            read += int(fields[b"read_bytes"])
            written += int(fields[b"write_bytes"])
    return read, written
