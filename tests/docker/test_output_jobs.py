"""From a program in a container to a folder of the person who asks, as they would type it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.running import Up, running_up

from .conftest import BASE

pytestmark = pytest.mark.docker

PROGRAM = """
import os, pathlib, socket
assert os.environ["STOKER_OUTPUTS"] == "/outputs"
out = pathlib.Path("/outputs")
(out / "ckpt").mkdir()
(out / "ckpt" / "model.pt").write_bytes(bytes(range(256)) * 8192)
(out / "private").write_text("mine alone")
(out / "private").chmod(0o600)
(out / "tool").write_text("#!/bin/sh\\n")
(out / "tool").chmod(0o4755)
(out / "host").symlink_to("/etc/shadow")
(out / "up").symlink_to("../../..")
os.mkfifo(out / "fifo")
open(b"/outputs/\\xff", "w").close()
with open(out / "sparse", "wb") as file:
    file.truncate(20 << 20)
print("written")
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path / "data", "--runtime", "docker", "--base-image", BASE) as running:
        yield running


def test_what_a_container_wrote_is_fetched(up: Up, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "main.py").write_text(PROGRAM)
    done = up.stoker("submit", str(folder), "--follow", timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    got = tmp_path / "got"
    told = up.stoker("outputs", "last", "--get", str(got))
    assert told.returncode == 0, told.stderr
    assert (got / "ckpt" / "model.pt").read_bytes() == bytes(range(256)) * 8192
    assert (got / "private").read_text() == "mine alone"
    assert (got / "tool").stat().st_mode & 0o7777 == 0o755
    assert (got / "sparse").stat().st_size == 20 << 20
    names = {path.name for path in got.rglob("*")}
    assert names == {"ckpt", "model.pt", "private", "tool", "sparse"}
    listed = json.loads(up.stoker("outputs", "--json").stdout)
    assert listed["final"]
    assert {note["path"] for note in listed["notes"]} == {"host", "up", "fifo", "\\xff"}
