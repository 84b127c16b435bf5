"""What an ended attempt left is sent by the keeper, and one that cannot be sent stops no other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from agent import keeper
from agent.folder import AttemptFolder
from agent.keeper import Keeper
from agent.last_rounds import LastRounds
from agent.output_rounds import AttemptOutputs
from agent.outputs import OutputBounds, Outputs
from bus.connection import Bus
from schemas.worker import AttemptKey


class Rounds:
    """Of an attempt: settled only when it is told to be."""

    def __init__(self, what: str, asked: list[str], *, takes: bool, untaken: bool = False) -> None:
        self.what = what
        self.stored = self.settled = False
        self.untaken = untaken
        self._asked = asked
        self._takes = takes

    async def again(self, shelf: Path) -> None:
        self._asked.append(self.what)
        self.stored = self.settled = self._takes


def rounds(what: str, asked: list[str], *, takes: bool, untaken: bool = False) -> LastRounds:
    return cast(LastRounds, Rounds(what, asked, takes=takes, untaken=untaken))


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


async def test_one_that_cannot_be_sent_stops_none_but_its_like_where_nobody_takes_them(
    kept: Keeper, tmp_path: Path
) -> None:
    asked: list[str] = []
    full = rounds("checkpoint", asked, takes=False, untaken=True)
    unreadable = rounds("outputs", asked, takes=False)
    fine = [rounds("outputs", asked, takes=True) for _ in range(2)]
    spared = rounds("checkpoint", asked, takes=False, untaken=True)
    kept.keep(*attempt(tmp_path, 1), 0, cast(AttemptOutputs, fine[0]), full)
    kept.keep(*attempt(tmp_path, 2), 0, cast(AttemptOutputs, unreadable))
    kept.keep(*attempt(tmp_path, 3), 0, cast(AttemptOutputs, fine[1]), spared)
    await kept._send_round()
    assert asked == ["outputs", "checkpoint", "outputs", "outputs"]
    assert fine[0].stored
    assert fine[1].stored
    assert list(kept._waiting) == ["job.3", "job.1", "job.2"]


async def test_what_is_being_sent_holds_up_no_look_at_the_others(
    kept: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK_EVERY", 0.01)
    begun, never = asyncio.Event(), asyncio.Event()

    async def endless(shelf: Path) -> None:
        begun.set()
        await never.wait()

    slow = rounds("outputs", [], takes=False)
    monkeypatch.setattr(slow, "again", endless)
    kept.keep(*attempt(tmp_path, 1), 0, cast(AttemptOutputs, slow))
    looking = asyncio.create_task(kept.run())
    try:
        async with asyncio.timeout(20):
            await begun.wait()
            kept.keep(*attempt(tmp_path, 2), 0)
            while "job.2" in kept.names:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.01)
        assert kept.names == {"job.1"}
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
