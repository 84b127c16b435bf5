"""What of the outputs of ended attempts stays?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.folder import AttemptFolder
from agent.outputs import Kept, OutputBounds, Outputs, surplus


def kept(*sizes: int) -> list[Kept]:
    """Named by their age: a is the oldest."""
    return [Kept("abcdef"[age], float(age), size) for age, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "bounds", "wanted", "going"),
    [
        ((), OutputBounds(), 0, ""),
        ((1, 1, 1), OutputBounds(), 0, ""),
        ((4, 4, 4), OutputBounds(size=8), 0, "a"),
        ((4, 4, 4), OutputBounds(size=7), 0, "ab"),
        ((1, 9), OutputBounds(size=8), 0, "a"),
        ((1, 1, 1, 1), OutputBounds(attempts=2), 0, "ab"),
        ((1, 1), OutputBounds(size=0), 0, "ab"),
        ((2, 2, 2), OutputBounds(), 3, "ab"),
        ((4, 4, 4), OutputBounds(size=8), 3, "a"),
        ((2, 2), OutputBounds(), 99, "ab"),
    ],
)
def test_the_oldest_go_first(
    sizes: tuple[int, ...], bounds: OutputBounds, wanted: int, going: str
) -> None:
    assert "".join(one.name for one in surplus(kept(*sizes), bounds, wanted)) == going


def attempt(work: Path, name: str, size: int = 1) -> AttemptFolder:
    folder = AttemptFolder(work / "attempts" / name)
    folder.outputs.mkdir(parents=True)
    if size:
        (folder.outputs / "model").write_bytes(b"x" * size)
    return folder


def shelf(work: Path, bounds: OutputBounds | None = None) -> Outputs:
    (work / "outputs").mkdir(exist_ok=True)
    return Outputs(work / "outputs", bounds or OutputBounds())


def test_what_was_written_is_kept_and_nothing_else(tmp_path: Path) -> None:
    outputs = shelf(tmp_path)
    outputs.keep(attempt(tmp_path, "job.1"))
    outputs.keep(attempt(tmp_path, "job.2", size=0))
    assert os.listdir(tmp_path / "outputs") == ["job.1"]
    assert (tmp_path / "outputs" / "job.1" / "model").read_text() == "x"


def test_a_later_agent_goes_on_with_what_is_there(tmp_path: Path) -> None:
    bounds = OutputBounds(size=300_000)
    for number in range(3):
        name = f"job.{number}"
        shelf(tmp_path).keep(attempt(tmp_path, name, size=200_000))
        os.utime(tmp_path / "outputs" / name, (number, number))
    shelf(tmp_path, bounds).trim()
    assert os.listdir(tmp_path / "outputs") == ["job.2"]


def test_space_that_is_wanted_is_freed(tmp_path: Path) -> None:
    outputs = shelf(tmp_path)
    outputs.keep(attempt(tmp_path, "job.1", size=200_000))
    assert outputs.trim(wanted=1) >= 200_000
    assert os.listdir(tmp_path / "outputs") == []


def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_bytes(b"x" * 200_000)
    linked = attempt(tmp_path, "job.1", size=0)
    linked.outputs.rmdir()
    linked.outputs.symlink_to(tmp_path / "secret")
    inside = attempt(tmp_path, "job.2")
    (inside.outputs / "link").symlink_to(tmp_path / "secret")
    outputs = shelf(tmp_path, OutputBounds(size=100_000, attempts=5))
    outputs.keep(linked)
    outputs.keep(inside)
    outputs.trim()
    assert os.listdir(tmp_path / "outputs") == ["job.2"]
    outputs.trim(wanted=1)
    assert os.listdir(tmp_path / "outputs") == []
    assert (tmp_path / "secret" / "file").exists()


def test_an_agent_that_is_to_keep_nothing_keeps_nothing(tmp_path: Path) -> None:
    shelf(tmp_path, OutputBounds(size=0)).keep(attempt(tmp_path, "job.1"))
    assert os.listdir(tmp_path / "outputs") == []
