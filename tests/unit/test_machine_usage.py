"""What becomes of two looks at a program, or at a machine?"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent import machine_samples
from agent.gpus import Gpu, Gpus, has_devices, load_library, of_machine, of_processes
from agent.machine_samples import MachineSamples, Outbox, Running, Sample, is_due, packed
from agent.machine_usage import busy_seconds, machine_usage, outward, whole_disks
from agent.runtimes.process_meter import birth_of, tree_meter
from agent.runtimes.usage import Usage, series_between
from bus.errors import Unanswered
from bus.metrics import MetricWriter
from schemas.metrics import Samples, Source

BEFORE = Usage(10.0, 4.0, 1000, 100, 200, 1000, 2000)
NOW = Usage(15.0, 14.0, 3000, 600, 200, 1500, 3000)


def test_sums_become_rates_and_memory_is_what_it_is() -> None:
    assert series_between(BEFORE, NOW) == {
        "memory": 3000.0, "cpu": 2.0, "disk.read": 100.0, "disk.write": 0.0,
        "net.in": 100.0, "net.out": 200.0,
    }  # fmt: skip


def test_nothing_is_told_of_what_is_not_known_or_went_backwards() -> None:
    unknown = replace(NOW, read=None, received=None, sent=None)
    assert series_between(BEFORE, unknown) == {"memory": 3000.0, "cpu": 2.0, "disk.write": 0.0}
    less = replace(NOW, cpu=3.0, written=1)
    assert "cpu" not in series_between(BEFORE, less)
    assert "disk.write" not in series_between(BEFORE, less)
    assert series_between(NOW, NOW) == {"memory": 3000.0}


def test_a_machine_is_busy_when_it_neither_idles_nor_waits() -> None:
    times = namedtuple("times", "user system idle iowait steal guest softirq")
    assert busy_seconds(times(5.0, 2.0, 100.0, 50.0, 7.0, 3.0, 1.0)) == 8.0


def test_disks_count_once_and_interfaces_where_a_device_is_behind_them(tmp_path: Path) -> None:
    for name in ("sda", "dm-0", "loop0", "nvme0n1"):
        (tmp_path / name).mkdir()
    assert whole_disks(["sda", "sda1", "dm-0", "loop0", "nvme0n1"], tmp_path) == ["sda", "nvme0n1"]
    assert whole_disks(["disk0"], tmp_path / "none") == ["disk0"]
    (tmp_path / "eth0" / "device").mkdir(parents=True)
    assert outward(["lo", "eth0", "docker0", "veth1"], tmp_path) == ["eth0"]
    assert outward(["lo", "eth9"], tmp_path) == ["eth9"]


def test_this_machine_can_be_measured() -> None:
    first, second = machine_usage(), machine_usage()
    found = series_between(first, second)
    assert found["memory"] > 0
    assert found["cpu"] >= 0
    assert {"net.in", "net.out", "disk.read", "disk.write"} <= found.keys()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_tree_keeps_what_its_ended_processes_used() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]);"
    program += "print('burnt', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        meter = tree_meter(f"{process.pid}@{birth_of(process.pid)}")
        assert meter is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"burnt\n"
        found = replace(meter, shim=0).read()
        assert found is not None
        assert found.cpu >= 0.29
        assert found.memory > 1 << 20
        assert process.pid in found.pids
        process.communicate()
    assert meter.read() is None
    assert tree_meter("1@0") is None


def pynvml(**devices: tuple[int, int, dict[int, int | None]]) -> Any:
    """A library with these devices: use in percent, memory, its processes."""
    error = type("NVMLError", (Exception,), {})
    numbers = list(devices.values())

    def of(number: int) -> tuple[int, int, dict[int, int | None]]:
        if numbers[number][0] < 0:
            raise error("fell off the bus")
        return numbers[number]

    def refuse(handle: object) -> None:
        raise error("not supported")

    return SimpleNamespace(
        NVMLError=error,
        nvmlDeviceGetCount=lambda: len(numbers),
        nvmlDeviceGetHandleByIndex=of,
        nvmlDeviceGetUtilizationRates=lambda one: SimpleNamespace(gpu=one[0]),
        nvmlDeviceGetMemoryInfo=lambda one: SimpleNamespace(used=one[1]),
        nvmlDeviceGetGraphicsRunningProcesses=refuse,
        nvmlDeviceGetComputeRunningProcesses=lambda one: [
            SimpleNamespace(pid=pid, usedGpuMemory=memory) for pid, memory in one[2].items()
        ],
    )


def test_of_the_gpus_an_attempt_has_those_that_its_processes_use() -> None:
    library = pynvml(a=(50, 900, {7: 600, 8: 300}), b=(-1, 0, {}), c=(100, 40, {9: None}))
    found = Gpus(lambda: library).read()
    assert found == [Gpu(0, 0.5, 900, {7: 600, 8: 300}), Gpu(2, 1.0, 40, {9: 0})]
    assert of_machine(found) == {
        "gpu.0.use": 0.5, "gpu.0.memory": 900.0, "gpu.2.use": 1.0, "gpu.2.memory": 40.0,
    }  # fmt: skip
    assert of_processes(found, frozenset({7, 9})) == {
        "gpu.0.use": 0.5, "gpu.0.memory": 600.0, "gpu.2.use": 1.0, "gpu.2.memory": 0.0,
    }  # fmt: skip
    assert of_processes(found, frozenset({1})) == {}


def test_without_a_device_nothing_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    assert not has_devices(tmp_path)
    assert load_library(tmp_path) is None
    assert Gpus(lambda: None).read() == []
    (tmp_path / "nvidia0").touch()
    assert has_devices(tmp_path)


class Store:
    """Takes what is published, or does not answer."""

    def __init__(self) -> None:
        self.taken: list[tuple[Samples, str]] = []
        self.deaf = False

    async def publish(self, samples: Samples, message_id: str = "") -> None:
        self.taken.append((samples, message_id))
        if self.deaf:
            raise Unanswered("stoker.metric", 5.0)


class Writers:
    """All of them to one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, *_: object) -> Store:
        return self._store

    of_worker = __call__


def test_what_nobody_takes_is_told_again_as_it_was_and_the_oldest_go_with_a_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine_samples, "KEPT", 3)
    monkeypatch.setattr(machine_samples, "SENT_AT_ONCE", 2)
    store = Store()
    outbox = Outbox(cast(MetricWriter, store))

    async def play() -> None:
        store.deaf = True
        outbox.add(Sample(0, 0.0, {"cpu": 0.0}))
        await outbox.send()
        for number in range(1, 6):
            outbox.add(Sample(number, float(number), {"cpu": float(number), "memory": 1.0}))
        await outbox.send()
        store.deaf = False
        await outbox.send()

    asyncio.run(play())
    first, again, stored, *rest = store.taken
    assert first == again == stored
    assert [samples.columns["cpu"].points().values.tolist() for samples, _ in rest] == [
        [3.0, 4.0], [5.0],
    ]  # fmt: skip
    assert [samples.left_out for samples, _ in rest] == [4, 0], "two series of two samples"
    assert len({id for _, id in store.taken}) == 3


def test_samples_of_ended_attempts_wait_for_the_bus_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine_samples, "KEPT_OVER", 2)
    store = Store()
    monkeypatch.setattr(machine_samples, "MetricWriter", Writers(store))
    running = [Running(("job", number), 0.0, lambda: None) for number in range(3)]
    samples = MachineSamples(cast(Any, None), "w1", lambda: running)

    async def play() -> None:
        store.deaf = True
        await samples.round()
        for (_, number), watched in samples._watched.items():
            watched.outbox.add(Sample(number, 0.0, {"cpu": float(number)}))
        while running:
            running.pop(0)
            await samples.round()
        assert samples._lost == 1
        store.deaf = False
        store.taken.clear()
        await samples.round()
        await samples.round()

    asyncio.run(play())
    told = [next(iter(taken.columns.values())).points().steps.tolist() for taken, _ in store.taken]
    assert [steps for steps in told if steps[0] < 3] == [[1], [2]]
    assert not samples._over


def test_samples_are_columns_and_a_series_that_came_later_is_shorter() -> None:
    found = packed([Sample(1, 10.0, {"cpu": 1.0}), Sample(6, 15.0, {"cpu": 2.0, "memory": 7.0})])
    assert found.source is Source.MACHINE
    assert found.columns["cpu"].points().steps.tolist() == [1, 6]
    assert found.columns["memory"].points().times.tolist() == [15.0]


def test_what_cannot_be_measured_is_looked_for_ever_more_seldom() -> None:
    due = [look for look in range(1, 200) if is_due(look)]
    assert due == [1, 2, 4, 8, 16, 32, 64, 128, 192]


def test_the_first_look_tells_memory_and_a_meter_that_was_lost_is_looked_for_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store()
    monkeypatch.setattr(machine_samples, "MetricWriter", Writers(store))
    found: list[Usage | None] = [BEFORE, *[NOW] * 9, None, NOW]
    meter = SimpleNamespace(read=lambda: found.pop(0))
    samples = MachineSamples(
        cast(Any, None), "w1", lambda: [Running(("job", 1), time.time(), lambda: meter)]
    )

    async def play() -> None:
        while found:
            await samples.round()

    asyncio.run(play())
    told = [taken for taken, _ in store.taken if taken.columns["memory"].points().steps[0] < 1000]
    assert len(told) == 11, "all but the one that could not be read"
    assert [set(one.columns) for one in told[:2]] == [{"memory"}, set(series_between(BEFORE, NOW))]
