"""How much may a log get? What the command takes, and what a pool gets."""

from __future__ import annotations

import pytest

from schemas.worker import LOG_RATE, LOG_TOTAL
from services.scheduler.config import SchedulerConfig
from stoker.answers import StokerError
from stoker.config import log_bounds


def test_a_pool_may_have_its_own() -> None:
    rates = log_bounds("--log-rate", ["1m", "gpus=64k", "old=none", "new=0"])
    assert rates == {"": 1 << 20, "gpus": 64 << 10, "old": 0, "new": 0}
    config = SchedulerConfig(log_rate=rates[""], pools_log_rate=rates, pools_log_total={"gpus": 7})
    assert config.log_bound("default") == (1 << 20, LOG_TOTAL)
    assert config.log_bound("gpus") == (64 << 10, 7)
    assert config.log_bound("old") == (0, LOG_TOTAL)
    assert SchedulerConfig().log_bound("default") == (LOG_RATE, LOG_TOTAL)


@pytest.mark.parametrize("entry", ["much", "gpus=", "-1"])
def test_what_is_no_size_is_refused_with_what_to_write(entry: str) -> None:
    with pytest.raises(StokerError, match=f"--log-total {entry}: .*size"):
        log_bounds("--log-total", [entry])
