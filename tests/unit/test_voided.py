"""A killed shim lets go of its lock a moment after it is seen to end."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest

from agent.folder import AttemptFolder
from agent.runtimes import shim_runtime
from agent.runtimes.shim_runtime import voided


@pytest.fixture
def folder(tmp_path: Path) -> AttemptFolder:
    attempt = AttemptFolder(tmp_path)
    Path(attempt.notes).write_bytes(b"")
    return attempt


async def test_a_lock_that_is_still_being_let_go_of_is_waited_for(folder: AttemptFolder) -> None:
    with open(folder.notes, "ab") as dying:
        fcntl.flock(dying, fcntl.LOCK_EX)
        asyncio.get_running_loop().call_later(0.2, fcntl.flock, dying, fcntl.LOCK_UN)
        assert not folder.void()
        assert await voided(folder)


async def test_a_shim_that_lives_is_left_alone(
    folder: AttemptFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shim_runtime, "DYING_SECONDS", 0.1)
    with open(folder.notes, "ab") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        assert not await voided(folder)
