"""What do the kernel's files say of a program? Trees of both versions, as kernels lay them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.runtimes.control_groups import Groups, read_mounts, read_places
from agent.runtimes.docker_meter import net_bytes

ID = "f" * 64
MOUNT = "{number} 25 0:31 {root} {place} rw,nosuid shared:9 - {kind} cgroup rw,{options}\n"
NET = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo:  999999      10    0    0    0     0          0         0  999999      10    0
  eth0:    1000      10    0    0    0     0          0         0     300       3    0
  eth1:20    1    0    0    0     0          0         0     7       1    0
"""


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def proc_of(tmp_path: Path, mounts: str, places: str) -> Path:
    proc = tmp_path / "proc"
    write(proc / "self", mountinfo=mounts)
    write(proc / "7", cgroup=places)
    return proc


def version_1(tmp_path: Path, root: str = "/", group: str = f"/docker/{ID}") -> Path:
    names = ("memory", "cpu,cpuacct", "blkio", "name=systemd")
    mounts = "".join(
        MOUNT.format(number=n, root=root, place=tmp_path / name, kind="cgroup", options=name)
        for n, name in enumerate(names)
    )
    below = group.removeprefix(root.rstrip("/"))
    write(
        Path(f"{tmp_path}/memory{below}"),
        memory__usage_in_bytes="5000000\n",
        memory__stat="cache 9\ninactive_file 11\ntotal_inactive_file 1000000\n",
        cgroup__procs="7\n12\n0\n",
    )
    write(Path(f"{tmp_path}/cpu,cpuacct{below}"), cpuacct__usage="2500000000\n")
    served = "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 5\n8:16 Write 6\nTotal 41\n"
    write(Path(f"{tmp_path}/blkio{below}"), **{"blkio__throttle__io_service_bytes": served})
    lines = (f"{n}:{name}:{group}\n" for n, name in enumerate(names, 2))
    return proc_of(tmp_path, mounts, "".join(lines) + "0::/\n")


def version_2(tmp_path: Path, group: str = f"/system.slice/docker-{ID}.scope") -> Path:
    mounts = MOUNT.format(number=1, root="/", place=tmp_path / "all", kind="cgroup2", options="x")
    write(
        Path(f"{tmp_path}/all{group}"),
        memory__current="5000000\n",
        memory__stat="anon 9\ninactive_file 1000000\n",
        cpu__stat="usage_usec 2500000\nuser_usec 2000000\n",
        io__stat="8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=6 rios=1\n253:0\n",
        cgroup__procs="7\n12\n0\n",
    )
    return proc_of(tmp_path, mounts, f"0::{group}\n")


@pytest.mark.parametrize("make", [version_1, version_2], ids=["version 1", "version 2"])
def test_both_versions_say_the_same(tmp_path: Path, make: object) -> None:
    assert callable(make)
    groups = Groups.of(7, make(tmp_path))
    assert groups is not None
    assert groups.unified is (make is version_2)
    assert groups.cpu_seconds() == pytest.approx(2.5)
    assert groups.memory_bytes() == 4_000_000
    assert groups.disk_bytes() == (15, 26)
    assert groups.processes() == [7, 12]


def test_version_1_counts_where_version_2_is_mounted_beside_it(tmp_path: Path) -> None:
    proc = version_1(tmp_path)
    write(tmp_path / "unified")
    mounts = (proc / "self/mountinfo").read_text()
    both = MOUNT.format(
        number=9, root="/", place=tmp_path / "unified", kind="cgroup2", options="nsdelegate"
    )
    (proc / "self/mountinfo").write_text(both + mounts)
    groups = Groups.of(7, proc)
    assert groups is not None
    assert not groups.unified


def test_only_a_part_of_a_tree_may_be_mounted(tmp_path: Path) -> None:
    group = f"/outer/docker/{ID}"
    groups = Groups.of(7, version_1(tmp_path, root="/outer", group=group))
    assert groups is not None
    assert groups.memory == tmp_path / "memory" / "docker" / ID


def test_what_cannot_be_seen_from_here_is_not_measured(tmp_path: Path) -> None:
    proc = version_1(tmp_path)
    assert Groups.of(8, proc) is None
    (proc / "7/cgroup").write_text(f"2:memory:/elsewhere/{ID}\n3:cpu,cpuacct:/elsewhere\n0::/\n")
    assert Groups.of(7, proc) is None
    (proc / "self/mountinfo").write_text("not what it should be\n\n")
    assert Groups.of(7, proc) is None


def test_a_group_that_went_is_told_apart_from_one_without_disks(tmp_path: Path) -> None:
    groups = Groups.of(7, version_2(tmp_path))
    assert groups is not None
    (groups.cpu / "io.stat").unlink()
    assert groups.disk_bytes() is None
    (groups.cpu / "cpu.stat").unlink()
    with pytest.raises(OSError, match=r"cpu\.stat"):
        groups.cpu_seconds()
    (groups.cpu / "cgroup.procs").unlink()
    assert groups.processes() == []


def test_a_colon_in_a_group_belongs_to_its_name() -> None:
    assert read_places("0::/a:b\n4:cpu,cpuacct:/c\n") == {"": "/a:b", "cpu": "/c", "cpuacct": "/c"}
    assert read_mounts("1 2 3 - cgroup2\n") == {}


def test_the_network_is_all_interfaces_but_the_one_to_itself(tmp_path: Path) -> None:
    write(tmp_path / "7" / "net", dev=NET)
    assert net_bytes(7, tmp_path) == (1020, 307)
    write(tmp_path / "8" / "net", dev="".join(NET.splitlines(keepends=True)[:3]))
    assert net_bytes(8, tmp_path) is None
    assert net_bytes(9, tmp_path) is None
