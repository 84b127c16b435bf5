"""What an ended attempt left is sent by the keeper, and one that cannot be sent stops no other."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from agent import keeper
from agent.folder import AttemptFolder
from agent.keeper import Keeper
from agent.last_rounds import LastRounds
from agent.outputs import OutputBounds, Outputs
from bus.connection import Bus
from schemas.worker import AttemptKey


class Rounds:
    """Of an attempt: settled only when it is told to be."""

    def __init__(self, what: str, asked: list[str], *, takes: bool, blocked: bool = False) -> None:
        self.what = what
        self.stored = self.settled = False
        self.blocked = blocked
        self._asked = asked
        self._takes = takes

    async def again(self, shelf: Path) -> None:
        self._asked.append(self.what)
        self.stored = self.settled = self._takes


def rounds(what: str, asked: list[str], *, takes: bool, blocked: bool = False) -> LastRounds:
    return cast(LastRounds, Rounds(what, asked, takes=takes, blocked=blocked))


def attempt(tmp_path: Path, number: int) -> tuple[AttemptKey, AttemptFolder]:
    folder = AttemptFolder(tmp_path / f"job.{number}")
    folder.checkpoints.mkdir(parents=True)
    (folder.checkpoints / "last").write_text("epoch 7")
    return AttemptKey(job="job", attempt=number), folder


@pytest.fixture
def kept(tmp_path: Path) -> Keeper:
    (tmp_path / "outputs").mkdir()
    bus = cast(Bus, SimpleNamespace())
    return Keeper(bus, "w1", Outputs(tmp_path / "outputs", OutputBounds()))


async def test_a_short_disk_leaves_a_checkpoint_that_is_not_sent(
    kept: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    due, sent = rounds("checkpoint", [], takes=False), rounds("checkpoint", [], takes=True)
    await sent.again(tmp_path)
    for number, one in enumerate((due, sent)):
        kept.keep(*attempt(tmp_path, number), 0, None, one)
    await kept.lighten()
    assert (tmp_path / "job.0" / "checkpoints" / "last").read_text() == "epoch 7"
    assert not (tmp_path / "job.1" / "checkpoints").exists()
    monkeypatch.setattr(keeper, "KEPT_MOST", 2)
    kept.keep(*attempt(tmp_path, 2), 0)
    assert not (tmp_path / "job.0").exists()
    assert "job.0: its last checkpoint is dropped, not stored" in caplog.text
