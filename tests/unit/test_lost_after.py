"""How long may a worker be silent? What the command takes, and what a pool gets."""

from __future__ import annotations

import pytest

from services.scheduler.config import SchedulerConfig
from stoker.answers import StokerError
from stoker.config import lost_after


def test_a_pool_may_have_its_own() -> None:
    seconds, pools = lost_after(["1m", "gpus=5s"])
    config = SchedulerConfig(lost_after=seconds, pools_lost_after=pools)
    assert (config.patience("default"), config.patience("gpus")) == (60.0, 5.0)
    assert config.shortest == 5.0


@pytest.mark.parametrize("entry", ["soon", "gpus=", "gpus=0.1", "2d"])
def test_a_time_that_is_none_is_refused_with_what_to_write(entry: str) -> None:
    with pytest.raises(StokerError, match="write"):
        lost_after([entry])
