"""What does the worker's machine use, all that runs on it?"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from agent.runtimes.usage import Usage

IDLE = ("idle", "iowait", "steal", "guest", "guest_nice")
"""Times in which nothing of this machine ran, or that are in another one already."""
MADE_UP = ("loop", "ram", "zram", "dm-", "md", "sr", "fd")
"""Disks that stand on others, or on none."""
BLOCKS, INTERFACES = Path("/sys/block"), Path("/sys/class/net")


def machine_usage() -> Usage:
    """Blocking, for about a millisecond."""
    memory = psutil.virtual_memory()
    disks = psutil.disk_io_counters(perdisk=True) or {}
    nets = psutil.net_io_counters(pernic=True) or {}
    real_disks = [disks[name] for name in whole_disks(disks)]
    real_nets = [nets[name] for name in outward(nets)]
    return Usage(
        time.monotonic(),
        busy_seconds(psutil.cpu_times()),
        memory.total - memory.available,
        sum(disk.read_bytes for disk in real_disks),
        sum(disk.write_bytes for disk in real_disks),
        sum(net.bytes_recv for net in real_nets),
        sum(net.bytes_sent for net in real_nets),
    )


def busy_seconds(times: Any) -> float:
    return float(sum(value for name, value in times._asdict().items() if name not in IDLE))


def whole_disks(names: Iterable[str], blocks: Path = BLOCKS) -> list[str]:
    """Neither partitions nor what lies on other disks; all where the system does not tell."""
    if not blocks.is_dir():
        return list(names)
    return [name for name in names if (blocks / name).exists() and not name.startswith(MADE_UP)]


def outward(names: Iterable[str], interfaces: Path = INTERFACES) -> list[str]:
    """Those that a device stands behind; in a container all but the one to itself."""
    others = [name for name in names if not name.startswith("lo")]
    return [name for name in others if (interfaces / name / "device").exists()] or others
