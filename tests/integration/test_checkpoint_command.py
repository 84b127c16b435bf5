"""A program that is stopped goes on where it was: the example of the docs, as a person runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.running import ROOT, Up, running_up

FIRST_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("resume"), "--runtime", "process") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The plain example of docs/checkpoints.md, word for word."""
    found = FIRST_BLOCK.search((ROOT / "docs" / "checkpoints.md").read_text())
    assert found is not None
    (tmp_path / "main.py").write_text(found[1])
    return tmp_path


def test_the_documented_example_goes_on_after_each_stop_and_in_a_new_job(
    up: Up, folder: Path
) -> None:
    run = up.stoker(
        "submit", str(folder), "--timeout", "3s", "--retries", "1", "--follow", timeout=100
    )
    assert run.returncode != 0, "two times three seconds are too few"
    job = json.loads(up.stoker("jobs", "--json").stdout)["jobs"][0]["id"]
    shown = json.loads(up.stoker("show", job, "--json").stdout)
    assert [one["end"]["reason"] for one in shown["attempts"]] == ["timeout", "timeout"]
    first, second = (up.stoker("logs", job, "--attempt", str(number)).stdout for number in (1, 2))
    stopped = re.search(r"stopped at step (\d+): timeout, with 10 s left", first)
    assert stopped, first
    assert "checkpoint" not in first
    assert "restored the checkpoint of attempt 1: 1 file, " in second
    assert f"goes on from step {stopped[1]}\n" in second
    assert shown["checkpoint"]["attempt"] == 2
    assert "of attempt 2" in up.stoker("show", job).stdout
    again = up.stoker("retry", job, "--resume", "--json")
    assert json.loads(again.stdout)["spec"]["resume"] == job
    resumed = json.loads(again.stdout)["id"]
    assert job in up.stoker("show", resumed).stdout
    log = up.stoker("logs", resumed, "--follow", timeout=100).stdout
    assert f"restored the checkpoint of attempt 2 of job {job}" in log
    assert re.search(r"goes on from step \d\d", log)


def test_a_job_without_a_checkpoint_cannot_be_resumed(up: Up, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import os; assert 'STOKER_RESUME' not in os.environ")
    job = up.stoker("submit", str(tmp_path), "--follow", timeout=60).stdout.split()[0]
    for words in (("retry", job, "--resume"), ("submit", str(tmp_path), "--resume", job)):
        refused = up.stoker(*words)
        assert refused.returncode != 0
        assert f"Job {job} has no checkpoint to begin from" in refused.stderr
    unknown = up.stoker("submit", str(tmp_path), "--resume", "00000000-0000")
    assert unknown.returncode != 0
    assert "00000000-0000" in unknown.stderr
