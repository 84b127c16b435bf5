"""Are a container's peak of memory and its processes found, wherever the kernel keeps them?"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from agent.runtimes.docker_cgroup import ControlGroup

USER = os.getuid()
V1 = {
    "memory.max_usage_in_bytes": "900\n",
    "memory.stat": "inactive_file 1\ntotal_inactive_file 200\n",
}
V2 = {"memory.peak": "900\n", "memory.stat": "anon 5\ninactive_file 200\n"}
OLD = {"memory.current": "700\n", "memory.stat": "inactive_file 0\n"}


@pytest.mark.parametrize(
    ("place", "files", "peak"),
    [
        ("memory/docker/c1", V1, 700),
        ("memory/system.slice/docker-c1.scope", V1, 700),
        ("docker/c1", V2, 700),
        ("system.slice/docker-c1.scope", V2, 700),
        ("system.slice/docker-c1.scope", OLD, 700),
        (f"user.slice/user-{USER}.slice/user@{USER}.service/user.slice/docker-c1.scope", V2, 700),
        ("docker/c2", V2, None),
        ("docker/c1", {}, None),
        ("docker/c1", {"memory.peak": "100", "memory.stat": "inactive_file 200"}, 0),
    ],
)
def test_the_peak_leaves_out_cached_files(
    tmp_path: Path, place: str, files: dict[str, str], peak: int | None
) -> None:
    (tmp_path / place).mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / place / name).write_text(text)
    assert ControlGroup("c1", tmp_path).peak() == peak


def test_what_is_in_the_group_is_killed_and_what_cannot_be_seen_is_left(tmp_path: Path) -> None:
    (tmp_path / "docker/c1").mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as program:
        (tmp_path / "docker/c1/cgroup.procs").write_text(f"0\n{program.pid}\n")
        ControlGroup("c2", tmp_path).kill()
        ControlGroup("c1", tmp_path).kill()
        assert program.wait(10) == -signal.SIGKILL
    ControlGroup("c1", tmp_path).kill()
