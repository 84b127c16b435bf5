"""A container without a network tracks by MLflow's real client, and reaches nothing else."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.mlflow_client import QUIET, SCRIPT, copy_client
from tests.plugins.running import Up, running_up

from .conftest import BASE

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.getuid() != 0, reason="the agent has to be root"),
]

ALONE = """
import os, socket, sys
sys.path.insert(0, "/job/client")
names = {name for _, name in socket.if_nameindex()}
assert names == {"lo"}, names
try:
    socket.create_connection(("10.0.0.1", 80), timeout=1)
    raise AssertionError("it has a network")
except OSError:
    pass
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path / "data", "--runtime", "docker", "--base-image", BASE) as running:
        yield running


@pytest.mark.timeout(360)
def test_a_job_without_a_network_tracks_with_an_unchanged_script(up: Up, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    copy_client(folder / "client")
    (folder / "main.py").write_text(ALONE + SCRIPT)
    flags = [part for name, value in QUIET.items() for part in ("--env", f"{name}={value}")]
    done = up.stoker("submit", str(folder), "--memory", "1g", *flags, "--follow", timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done" in done.stdout
    series = told(up, "mlflow:second/loss")
    assert (series["mlflow:loss"]["count"], series["mlflow:loss"]["last_step"]) == (32, 32)
    listed = json.loads(up.stoker("outputs", "--json").stdout)
    assert any(file["path"].endswith("artifacts/notes/a.txt") for file in listed["files"])


def told(up: Up, enough: str) -> dict[str, Any]:
    """The series of the only job, once the service has read that far."""
    job = json.loads(up.stoker("show", "last", "--json").stdout)["id"]
    asked = urllib.request.Request(f"{up.url}/api/v1/jobs/{job}/metrics")
    asked.add_header("Authorization", f"Bearer {up.token}")
    give_up = time.monotonic() + 90
    while True:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            attempts = json.load(answer)["attempts"]
        found = {one["key"]: one for attempt in attempts for one in attempt["series"]}
        if enough in found:
            return found
        assert time.monotonic() < give_up, attempts
        time.sleep(0.5)
