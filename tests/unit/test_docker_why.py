"""Whose fault is it that a container did not start?"""

from __future__ import annotations

import pytest

from agent.runtimes.docker_engine import EngineError, EngineSilent, out_of_space
from agent.runtimes.docker_launch import why
from schemas.reason import Reason

FULL = "Error response: write /var/lib/docker/overlay2/x: no space left on device"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EngineError(404, "No such image: sha256:1"), Reason.IMAGE_UNAVAILABLE),
        (EngineError(400, 'exec: "python": executable file not found in $PATH'), Reason.EXIT),
        (EngineError(400, "invalid mount"), Reason.AGENT_ERROR),
        (EngineError(500, FULL), Reason.DISK_FULL),
        (EngineSilent("/x.sock", OSError("refused")), Reason.AGENT_ERROR),
    ],
)
def test_the_engines_words_tell(error: EngineError, reason: Reason) -> None:
    assert why(error) is reason


@pytest.mark.parametrize(
    ("text", "full"),
    [(FULL, True), ("OSError: [Errno 28] No space left on device", True), ("no device", False)],
)
def test_words_that_mean_a_full_disk(text: str, full: bool) -> None:
    assert out_of_space(text) is full
