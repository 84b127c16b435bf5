"""How busy is this machine?"""

from __future__ import annotations

from pathlib import Path

import psutil

from schemas.worker import Load


def machine_load(work: Path) -> Load:
    """Since the last call, for the processor's share."""
    memory = psutil.virtual_memory()
    return Load(
        cpu=psutil.cpu_percent(interval=None) / 100,
        memory=memory.total - memory.available,
        memory_total=memory.total,
        disk_free=psutil.disk_usage(str(work)).free,
    )
