"""Whose downloads are kept, how much of them, and what is read of what BuildKit says?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agent.runtimes.docker_buildkit import BuildKit, Order, Progress, flags
from agent.runtimes.docker_builds import surplus
from agent.runtimes.docker_dockerfile import may_keep
from agent.runtimes.docker_packages import Packages, is_plain

HASH = "0" * 64


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("numpy", True),
        ("torch[extra,more]>=2,<3 ; python_version > '3.8'", True),
        ("a==1.0+cu121  # why", True),
        (f"a==1 --hash=sha256:{HASH}", True),
        ("-r more.txt", True),
        ("-c more.txt", True),
        ("--index-url https://index.example/simple", False),
        ("--extra-index-url https://index.example/simple", False),
        ("--trusted-host index.example", False),
        ("--find-links https://index.example", False),
        ("--no-binary :all:", False),
        ("a @ https://index.example/a.whl", False),
        ("https://index.example/a.whl", False),
        ("git+https://code.example/a", False),
        ("-e .", False),
        ("./a.whl", False),
        ("a==1 --config-settings=x=y", False),
        ("a==1 \\\n --config-settings=x=y", False),
    ],
)
def test_only_names_of_packages_may_add_to_what_is_kept(line: str, plain: bool) -> None:
    assert is_plain({"requirements.txt": f"six\n{line}\n".encode()}) is plain


def test_no_file_that_python_or_pip_would_read_by_its_name_comes_with_them() -> None:
    for name in ("pip.py", "venv/__main__.py", "tmp/.config/pip/pip.conf", ".txt"):
        assert not is_plain({"requirements.txt": b"six\n", name: b"six\n"}), name


def test_the_oldest_downloads_go_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"x" * 8192)
    folder = tmp_path / "packages" / "base" / "http"
    folder.mkdir(parents=True)
    for age in range(4):
        path = folder / f"{age}"
        path.write_bytes(b"x" * 8192)
        os.utime(path, (1000 - age, 1000 - age))
    (folder / "link").symlink_to(outside)
    packages = Packages(tmp_path / "packages", 20_000)
    assert packages.trim() == 2
    assert {path.name for path in folder.iterdir()} == {"0", "1", "link"}
    assert packages.trim() == 0
    assert packages.trim(wanted=1) == 1
    assert packages.trim(wanted=1 << 30) == 2
    assert outside.exists()
    assert Packages(tmp_path / "none", 1).trim() == 0


def test_nothing_is_kept_where_nothing_may_be(tmp_path: Path) -> None:
    packages = Packages(tmp_path / "packages", 0)
    assert packages.cache("requirements.txt", {}, "sha256:1") is None
    assert Packages(tmp_path / "packages").cache("uv.lock", {}, "sha256:1") is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"FROM base\nRUN --mount=type=cache,target=/x true\n", True),
        (b"FROM base\nrun --MOUNT=type=cache,target=/x true\n", True),
        (b"# syntax=docker/dockerfile:1\nFROM base\n", True),
        (b"FROM base\nRUN true\n", False),
    ],
    ids=["mount", "loud", "syntax", "neither"],
)
def test_what_finds_earlier_builds_is_its_owners_alone(text: bytes, kept: bool) -> None:
    assert may_keep(text) is kept


def test_the_longest_unused_mounts_go_but_those_in_use() -> None:
    def mount(name: str, used: str, busy: bool = False) -> dict[str, Any]:
        return {"ID": name, "Size": 10, "LastUsedAt": used, "InUse": busy}

    mounts = [mount("new", "2026-03"), mount("old", "2026-01"), mount("busy", "2025-01", True)]
    assert surplus(mounts, 30) == []
    assert surplus(mounts, 20) == ["old"]
    assert surplus(mounts, 0) == ["old", "new"]
    assert surplus([{"ID": "odd", "Size": None, "LastUsedAt": None}], 0) == []


def read(data: bytes, size: int) -> tuple[str, str, Progress]:
    printed, told = bytearray(), bytearray()
    progress = Progress(printed.extend, told.extend)
    for start in range(0, len(data), size):
        progress.take(data[start : start + size])
    progress.end()
    return printed.decode(), told.decode(), progress


SAID = """\
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 31B done
#1 DONE 0.0s
#5 [2/2] RUN pip install harm
#5 sha256:0123
#5 0.312 Collecting harm
#5 1.402 ERROR: no such package as harm
#5 ERROR: executor failed running [/bin/sh -c pip install harm]: exit code: 1
------
 > [2/2] RUN pip install harm:
------
executor failed running [/bin/sh -c pip install harm]: exit code: 1"""


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_steps_print_is_told_from_what_buildkit_says(size: int) -> None:
    printed, told, progress = read(SAID.encode(), size)
    assert printed.splitlines() == [
        "#5 [2/2] RUN pip install harm",
        "Collecting harm",
        "ERROR: no such package as harm",
    ]
    assert "executor failed" in told
    assert "transferring" not in told
    assert progress.began
    assert progress.error.startswith("executor failed running")
    assert progress.said.endswith("exit code: 1")


def test_a_line_without_an_end_is_bounded() -> None:
    printed, _, progress = read(b"#5 0.1 " + b"x" * 300_000, 4096)
    assert len(printed) < 80_000
    assert not progress.said.startswith("#")


def test_each_owner_has_a_namespace_that_nobody_else_can_name(tmp_path: Path) -> None:
    one, other = BuildKit("/engine", tmp_path / "one"), BuildKit("/engine", tmp_path / "two")
    for kit in (one, other):
        kit._settle(None)
    assert one._namespace("ada") == BuildKit("/engine", tmp_path / "one")._namespace("ada")
    assert len({kit._namespace(owner) for kit in (one, other) for owner in ("ada", "bob")}) == 4
    order = Order("n", "Dockerfile", {"BUILDKIT_CACHE_MOUNT_NS": "mine"}, {}, "ada", lambda: [])
    assert flags(order, "given")[-1] == "--build-arg=BUILDKIT_CACHE_MOUNT_NS=given"
    assert "mine" not in " ".join(flags(order, "given"))
