"""The words of ``--quota`` and ``stoker quota set``."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stoker.answers import StokerError
from stoker.limits import Limits, everybodys, read_limits


def test_limits_are_read_in_their_units() -> None:
    limits = read_limits("", ["running=8", "storage=20g", "upload=512m", "queued=none"])
    assert limits == Limits(
        {"running": 8, "storage": 20 << 30, "upload": 512 << 20, "queued": None}
    )


def test_a_limit_may_be_everybodys_again() -> None:
    assert read_limits("", ["running=default", "queued=0"]) == Limits({"queued": 0}, ("running",))


@pytest.mark.parametrize(
    "words",
    [
        ["running"], ["walking=3"], ["running="], ["running=many"], ["running=-1"],
        ["running=1.5"], ["storage=big"], ["storage=99999999999g"], [f"storage={'9' * 400}g"],
        ["=3"], ["running=4g"],
    ],
    ids=lambda words: words[0][:20],
)  # fmt: skip
def test_what_is_no_limit_is_told_with_an_example(words: Sequence[str]) -> None:
    with pytest.raises(StokerError, match=r"write running=8|a limit is 0 or more"):
        read_limits("--quota", words)


def test_services_have_no_default_to_go_back_to() -> None:
    with pytest.raises(StokerError, match="leave it out"):
        everybodys(["running=default"])
