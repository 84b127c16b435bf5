"""How much of a disk is kept, and how a stream's bound comes and goes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bus.layout import STREAMS, pool_stream
from bus.room import BOUND, Reserve, close, reopen
from bus.server import ServerConfig, heap_limit

GIBIBYTE = 1 << 30
ROOT = Path(__file__).parents[2]
DEPLOYED = ("deploy/nats.conf", "deploy/cluster/nats.conf")
POOLS = 500


def info(size: int, **config: object) -> dict[str, object]:
    return {"config": {"name": "LOGS", "max_bytes": 1000, **config}, "state": {"bytes": size}}


@pytest.mark.parametrize(
    ("size", "low", "occupied"),
    [
        (1000 * GIBIBYTE, 2 * GIBIBYTE, 64 << 20),
        (10 * GIBIBYTE, GIBIBYTE, 64 << 20),
        (1000, 100, 25),
    ],
)
def test_the_reserve_grows_with_the_disk_up_to_a_bound(size: int, low: int, occupied: int) -> None:
    reserve = Reserve.of(size, 2 * GIBIBYTE)
    assert (reserve.low, reserve.occupied) == (low, occupied)
    assert reserve.again - reserve.occupied > reserve.low


@pytest.mark.parametrize(
    ("free", "seconds"),
    [(0, 1.0), (3 * GIBIBYTE, 1.0), (14 * GIBIBYTE, 3.0), (900 * GIBIBYTE, 5.0)],
)
def test_a_disk_is_looked_at_the_more_often_the_sooner_it_may_be_full(
    free: int, seconds: float
) -> None:
    assert Reserve(2 * GIBIBYTE, 64 << 20).pause(free) == seconds


def test_a_closed_stream_takes_no_more_than_it_has_and_gets_its_bound_back() -> None:
    before = info(400, metadata={"mine": "yes"})
    closed = close(before)
    assert closed is not None
    assert closed["max_bytes"] == 400
    assert closed["metadata"] == {"mine": "yes", BOUND: "1000"}
    assert reopen({"config": closed, "state": {"bytes": 300}}) == before["config"]


def test_nothing_is_done_twice() -> None:
    closed = close(info(0))
    assert closed is not None
    assert closed["max_bytes"] == 1
    assert close({"config": closed, "state": {"bytes": 0}}) is None
    assert reopen(info(0)) is None


def test_all_streams_full_to_their_bounds_leave_room_on_every_server() -> None:
    """What one stream may fill is never what another was promised."""
    promised = sum(one.max_bytes for one in STREAMS) + POOLS * pool_stream("p").max_bytes
    assert all(one.max_bytes > 0 for one in STREAMS)
    limits = [ServerConfig(ROOT).max_store]
    for name in DEPLOYED:
        found = re.search(r"max_file_store: (\d+)", (ROOT / name).read_text())
        assert found is not None
        limits.append(int(found[1]))
    assert promised < min(limits)


def test_a_store_with_many_jobs_gives_its_server_memory_for_their_index(tmp_path: Path) -> None:
    config = ServerConfig(tmp_path)
    assert heap_limit(config) == config.heap
    for stream, size in (("JOBS", 100 << 20), ("LOGS", GIBIBYTE)):
        folder = tmp_path / "store/jetstream/$G/streams" / stream / "msgs"
        folder.mkdir(parents=True)
        with (folder / "1.blk").open("wb") as block:
            block.truncate(size)
    assert heap_limit(config) == config.heap + (100 << 20)
