"""Is what was asked about a user sound, and what does it change?"""

from __future__ import annotations

from schemas.ids import USER_NAME
from schemas.people import Role
from schemas.people_requests import PutUser
from services.people.desk import refused
from services.people.kept import User, hashed

MOST_TEAMS = 50
LONGEST_EMAIL = 254


def check_name(name: str) -> str:
    if not USER_NAME.fullmatch(name):
        raise refused("bad_name", f"{name!r} is no name: use a-z, 0-9, '-' and '_', at most 63")
    return name


def check_user(asked: PutUser) -> None:
    check_name(asked.user)
    teams = asked.teams or ()
    for team in teams:
        check_name(team)
    if len(teams) > MOST_TEAMS:
        raise refused("too_many_teams", f"a user is in at most {MOST_TEAMS} teams")
    if asked.email and (len(asked.email) > LONGEST_EMAIL or asked.email.count("@") != 1):
        raise refused("bad_email", f"{asked.email!r} is no e-mail address")


def check_new(asked: PutUser, before: User | None) -> None:
    """The request that made them may be repeated."""
    if asked.new and before is not None and before.request != hashed(asked.request):
        raise refused("user_exists", f"there is a user {asked.user} already", 409)


def changes(asked: PutUser) -> dict[str, object]:
    found: dict[str, object] = {}
    if asked.role is not None and asked.role is not Role.ADMIN:
        found["role"] = asked.role
    if asked.teams is not None:
        found["teams"] = tuple(sorted(set(asked.teams)))
    if asked.email is not None:
        found["email"] = asked.email.strip().casefold()
    return found


def no_such_user(name: str) -> Exception:
    return refused("no_such_user", f"there is no user {name}", 404)
