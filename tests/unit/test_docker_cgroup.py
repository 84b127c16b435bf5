"""Is a container's peak of memory found, wherever the kernel keeps it?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.runtimes.docker_cgroup import ContainerMemory

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
    assert ContainerMemory("c1", tmp_path).peak() == peak
