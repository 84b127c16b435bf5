"""Which logs go by age, which by size."""

from __future__ import annotations

from services.archive.config import ArchiveConfig, Keep
from services.archive.retention import DAY, KeptLog, to_delete
from stoker.config import kept_logs

NOW = 1000 * DAY


def log(job: str, days: float, size: int = 10) -> KeptLog:
    return KeptLog(job, 1, 0, "default", size, NOW - days * DAY)


def names(logs: list[KeptLog], keep: Keep) -> list[str]:
    return [one.job for one, _ in to_delete(logs, keep, NOW)]


def test_nothing_goes_without_a_limit() -> None:
    assert names([log("a", 999)], Keep()) == []
    assert not ArchiveConfig().limited


def test_the_old_ones_go_with_the_reason() -> None:
    going = to_delete([log("new", 1), log("old", 31)], Keep(age=30 * DAY), NOW)
    assert [(one.job, why) for one, why in going] == [("old", "it was older than 30 days")]


def test_beyond_the_size_the_oldest_go_first() -> None:
    logs = [log("c", 1), log("a", 3), log("b", 2)]
    assert names(logs, Keep(size=20)) == ["a"]
    assert names(logs, Keep(size=19)) == ["a", "b"]
    assert names(logs, Keep(size=30)) == []


def test_what_goes_by_age_does_not_count_for_the_size() -> None:
    assert names([log("a", 40), log("b", 2), log("c", 1)], Keep(30 * DAY, 20)) == ["a"]


def test_a_pool_may_keep_less_than_the_others() -> None:
    kept = kept_logs(["90d", "gpus=7d"], ["gpus=1g"])
    assert kept == {"": (90 * DAY, None), "gpus": (7 * DAY, 1 << 30)}
