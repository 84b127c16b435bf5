"""How does the table of access look in the docs? One row an address, one column an identity."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.access import Action, may
from schemas.people import Principal, Role, Way
from ui.admission import looks_only
from ui.routes import OPERATIONS, PAGES

OWNER, OTHER, JOB = "owner", "other", "a job"
PAGE = "page"
YES, SIGN_IN, NO, HIDDEN, LED = "yes", "401", "403", "404", "→"
IDENTITIES: dict[str, Principal | None] = {
    "nobody": None,
    "expired": None,
    "guest": Principal(name="", role=Role.VIEWER, jobs=(JOB,), way=Way.SHARE),
    "stranger": Principal(name=OTHER, role=Role.MEMBER, sees=(OTHER,), way=Way.SESSION),
    "viewer": Principal(name="v", role=Role.VIEWER, sees=("v", OWNER), way=Way.SESSION),
    "read token": Principal(name=OWNER, role=Role.VIEWER, sees=(OWNER,), way=Way.TOKEN),
    "teammate": Principal(name="t", role=Role.MEMBER, sees=("t", OWNER), way=Way.SESSION),
    "owner": Principal(name=OWNER, role=Role.MEMBER, sees=(OWNER,), way=Way.SESSION),
    "admin": Principal(name="a", role=Role.ADMIN, sees=None, way=Way.SESSION),
}
"""As they look at one job, which its owner shared with the guest by a link. The viewer shares a
team with the owner, as the teammate does; the stranger is a member of another."""


def markdown() -> str:
    names = list(IDENTITIES)
    lines = [f"| | | does | {' | '.join(names)} |", f"|---|---|---|{'---|' * len(names)}"]
    for method, path, action in rows():
        told = (outcome(method, action, "{job}" in path, who) for who in IDENTITIES.values())
        lines.append(f"| {method} | `{path}` | {action.value} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


def rows() -> Iterator[tuple[str, str, Action]]:
    """Method, path and action; the method ``page`` is that of what a person opens."""
    for one in OPERATIONS:
        yield one.method, one.path, one.action
    for page in PAGES:
        yield PAGE, page.path, page.action


def outcome(method: str, action: Action, of_job: bool, who: Principal | None) -> str:
    """A page about a job is the same for each: what is in it the API tells, or not."""
    page = method == PAGE
    job = JOB if of_job else ""
    if not may(who, action, job=job) or looks_only(who, action, "GET" if page else method):
        if who is None or who.way is Way.SHARE:
            return LED if page else SIGN_IN
        return NO
    if not of_job or page or action is Action.OPEN:
        return YES
    if not may(who, Action.SEE_JOB, OWNER, job):
        return HIDDEN
    return YES if may(who, action, OWNER, job) else NO
