"""Who may do what? One pure rule; an action that no row allows is an admin's."""

from __future__ import annotations

from enum import StrEnum

from schemas.people import Principal, Role, Way


class Action(StrEnum):
    """What a request does. Every operation of the API and every page names one."""

    OPEN = "open"
    """Needs nobody: sign-in, health, what a page is drawn with."""
    SIGNED_IN = "signed in"
    """About the asker alone: their own account, tokens, secrets."""
    SEE_JOBS = "see jobs"
    """Lists, of which only their own part is shown."""
    SEE_JOB = "see a job"
    SEE_DATA = "see data"
    """Datasets, of which only what they may use is shown."""
    SUBMIT = "submit"
    STOP_JOB = "stop a job"
    """Cancel it, or share it by a link."""
    SEE_WORKERS = "see workers"
    ADMIN = "admin"
    """People, workers, quotas, the audit."""


LEAST = {
    Action.SEE_JOBS: Role.VIEWER,
    Action.SEE_JOB: Role.VIEWER,
    Action.SEE_WORKERS: Role.VIEWER,
    Action.SEE_DATA: Role.VIEWER,
    Action.SIGNED_IN: Role.VIEWER,
    Action.SUBMIT: Role.MEMBER,
    Action.STOP_JOB: Role.MEMBER,
}
"""The least role; what is missing needs an admin."""
SHARED = frozenset({Action.SEE_JOB})
"""What the link of a job allows."""


def may(who: Principal | None, action: Action, owner: str | None = None, job: str = "") -> bool:
    """Whether that is allowed. ``owner`` and ``job`` where the action is about one job."""
    if action is Action.OPEN:
        return True
    if who is None:
        return False
    if who.way is Way.SHARE or job in who.jobs:
        if action in SHARED and job in who.jobs:
            return True
        if who.way is Way.SHARE:
            return False
    if who.role.rank < LEAST.get(action, Role.ADMIN).rank:
        return False
    return owner is None or who.role is Role.ADMIN or who.sees is None or owner in who.sees
