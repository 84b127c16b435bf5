"""Who may do what."""

from __future__ import annotations

import pytest

from schemas.access import Action, may
from schemas.people import Principal, Role, Way

ANN = Principal(name="ann", role=Role.MEMBER, sees=("ann", "ben"), way=Way.SESSION)
EVE = Principal(name="eve", role=Role.VIEWER, sees=("eve",), way=Way.SESSION)
ADA = Principal(name="ada", role=Role.ADMIN, sees=None, way=Way.SESSION)
GUEST = Principal(name="", role=Role.VIEWER, jobs=("j1",), way=Way.SHARE)
SHOWN = EVE.model_copy(update={"jobs": ("j1",)})


@pytest.mark.parametrize(
    ("who", "action", "owner", "job", "allowed"),
    [
        (None, Action.OPEN, None, "", True),
        (None, Action.SEE_JOBS, None, "", False),
        (ANN, Action.SEE_JOB, "ann", "j", True),
        (ANN, Action.SEE_JOB, "ben", "j", True),
        (ANN, Action.STOP_JOB, "ben", "j", True),
        (ANN, Action.SEE_JOB, "cat", "j", False),
        (ANN, Action.STOP_JOB, "cat", "j", False),
        (ANN, Action.SUBMIT, None, "", True),
        (ANN, Action.ADMIN, None, "", False),
        (EVE, Action.SEE_JOBS, None, "", True),
        (EVE, Action.SUBMIT, None, "", False),
        (EVE, Action.STOP_JOB, "eve", "j", False),
        (ADA, Action.STOP_JOB, "cat", "j", True),
        (ADA, Action.ADMIN, None, "", True),
        (GUEST, Action.SEE_JOB, "cat", "j1", True),
        (GUEST, Action.SEE_JOB, "cat", "j2", False),
        (GUEST, Action.STOP_JOB, "cat", "j1", False),
        (GUEST, Action.SEE_JOBS, None, "", False),
        (GUEST, Action.SEE_WORKERS, None, "", False),
        (GUEST, Action.SIGNED_IN, None, "", False),
        (SHOWN, Action.SEE_JOB, "cat", "j1", True),
        (SHOWN, Action.STOP_JOB, "cat", "j1", False),
        (SHOWN, Action.SEE_JOBS, None, "", True),
    ],
)
def test_the_rule_of_access(
    who: Principal | None, action: Action, owner: str | None, job: str, allowed: bool
) -> None:
    assert may(who, action, owner, job) is allowed


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.OPEN])
def test_nobody_may_do_nothing(action: Action) -> None:
    assert not may(None, action, "ann", "j")


def test_a_token_gives_no_more_than_its_scope_and_no_more_than_its_user() -> None:
    assert Role.ADMIN.capped(Role.VIEWER) is Role.VIEWER
    assert Role.VIEWER.capped(Role.ADMIN) is Role.VIEWER
