"""What do the GPUs do? NVIDIA's library tells; it is loaded only where there is such a device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.runtimes.usage import Series

log = logging.getLogger(__name__)

DEVICES = Path("/dev")
PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One device at one moment."""

    number: int
    use: float
    """Share of the time in which it did something, 0 to 1."""
    memory: int
    """Bytes that are taken of it."""
    processes: dict[int, int] = field(default_factory=dict)
    """Process to the bytes that it has there; 0 where the driver does not tell."""


def has_devices(devices: Path = DEVICES) -> bool:
    return any(path.name[6:].isdigit() for path in devices.glob("nvidia*"))


class Gpus:
    """All devices of this machine. Blocking; a device that answers no more is left out."""

    def __init__(self, load: Callable[[], Any] | None = None) -> None:
        self._library = (load or load_library)()

    def read(self) -> list[Gpu]:
        library = self._library
        if library is None:
            return []
        found = []
        try:
            count = library.nvmlDeviceGetCount()
        except library.NVMLError as error:
            log.warning("the GPUs are not measured any more: %s", error)
            self._library = None
            return []
        for number in range(count):
            try:
                found.append(read_one(library, number))
            except library.NVMLError as error:
                log.debug("GPU %d: %s", number, error)
        return found


def load_library(devices: Path = DEVICES) -> Any:
    """None where there is no device, no library, or no driver."""
    if not has_devices(devices):
        return None
    try:
        import pynvml  # only where there is a GPU
    except ImportError:
        log.warning("the GPUs are not measured: the package nvidia-ml-py is not installed")
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.warning("the GPUs are not measured: %s", error)
        return None
    return pynvml


def read_one(library: Any, number: int) -> Gpu:
    handle = library.nvmlDeviceGetHandleByIndex(number)
    processes: dict[int, int] = {}
    for ask in (
        library.nvmlDeviceGetComputeRunningProcesses,
        library.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        try:
            processes |= {one.pid: one.usedGpuMemory or 0 for one in ask(handle)}
        except library.NVMLError:
            continue  # Some devices do not tell.
    use = library.nvmlDeviceGetUtilizationRates(handle).gpu / PERCENT
    return Gpu(number, use, int(library.nvmlDeviceGetMemoryInfo(handle).used), processes)


def of_machine(gpus: Iterable[Gpu]) -> Series:
    """Pure, like ``of_processes``."""
    found: Series = {}
    for gpu in gpus:
        found[f"gpu.{gpu.number}.use"] = gpu.use
        found[f"gpu.{gpu.number}.memory"] = float(gpu.memory)
    return found


def of_processes(gpus: Iterable[Gpu], pids: frozenset[int]) -> Series:
    """Of the devices that these processes have something on; a device's use is all of it."""
    found: Series = {}
    for gpu in gpus:
        mine = [memory for pid, memory in gpu.processes.items() if pid in pids]
        if mine:
            found[f"gpu.{gpu.number}.use"] = gpu.use
            found[f"gpu.{gpu.number}.memory"] = float(sum(mine))
    return found
