"""A service of people may die anywhere: what it has answered counts, nothing is done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus import subjects
from bus.errors import Refused
from schemas.message import Empty
from schemas.people import Principal, Role, Way
from schemas.people_requests import (
    Check,
    First,
    FirstAdmin,
    ListTokens,
    MadeLink,
    MadeToken,
    MakeLink,
    MakeToken,
    PutUser,
    RemoveUser,
    RevokeToken,
    SetPassword,
    SignedIn,
    SignIn,
    TokenList,
    UserView,
)
from tests.crash.child import Program
from tests.crash.harness import Scenario, crash_everywhere
from tests.crash.worlds import Server, World

LOCAL = Principal(name="local", role=Role.ADMIN, sees=None, way=Way.LOCAL)
PASSWORD = "four words that fit"


def verb(name: str) -> str:
    return subjects.request("people", name)


async def is_refused(world: World, name: str, message: SignIn | Check | RemoveUser) -> str:
    try:
        await world.ask(verb(name), message, Empty)
    except Refused as error:
        return error.problem.code
    return ""


async def come_stay_and_go(world: World) -> None:
    first = await world.ask(verb("first"), First(name="ada"), FirstAdmin)
    assert first.user is not None
    assert first.user.role is Role.ADMIN
    asked = PutUser(who=LOCAL, user="bob", role=Role.ADMIN, new=True)
    assert (await world.ask(verb("put_user"), asked, UserView)).role is Role.ADMIN
    bob = await signed_in(world)
    await with_token(world, bob)
    await world.ask(verb("remove_user"), RemoveUser(who=LOCAL, user="bob"), Empty)
    assert await is_refused(world, "check", Check(kind=Way.SESSION, value=bob.cookie))
    last = RemoveUser(who=LOCAL, user="ada")
    assert await is_refused(world, "remove_user", last) == "last_admin"
    keys = await world.subjects("KV_people")
    assert keys == [f"$KV.people.{name}" for name in ("admins", "key", "user.ada")]


async def signed_in(world: World) -> SignedIn:
    """By a link that signs nobody in a second time; then with a password."""
    made = await world.ask(verb("link"), MakeLink(who=LOCAL, user="bob"), MadeLink)
    entered = await world.ask(verb("sign_in"), SignIn(link=made.link), SignedIn)
    assert await is_refused(world, "sign_in", SignIn(link=made.link)) == "wrong_link"
    await world.ask(verb("set_password"), SetPassword(who=entered.principal, new=PASSWORD), Empty)
    again = await world.ask(verb("sign_in"), SignIn(name="bob", password=PASSWORD), SignedIn)
    for one in (entered, again):
        found = Check(kind=Way.SESSION, value=one.cookie)
        assert (await world.ask(verb("check"), found, Principal)).name == "bob"
    return again


async def with_token(world: World, bob: SignedIn) -> None:
    who = bob.principal
    made = await world.ask(
        verb("make_token"), MakeToken(who=who, name="one", scope=Role.MEMBER), MadeToken
    )
    known = await world.ask(verb("tokens"), ListTokens(who=who), TokenList)
    assert [one.id for one in known.tokens] == [made.token.id]
    shown = Check(kind=Way.TOKEN, value=made.secret)
    assert (await world.ask(verb("check"), shown, Principal)).role is Role.MEMBER
    await world.ask(verb("revoke_token"), RevokeToken(who=who, id=made.token.id), Empty)
    assert await is_refused(world, "check", shown) == "not_signed_in"


@pytest.mark.parametrize("replicas", [1, 2])
async def test_people_survive_a_crash_anywhere(
    worlds: Server, tmp_path: Path, replicas: int
) -> None:
    scenario = Scenario(Program("people"), come_stay_and_go, replicas)
    outcome = await crash_everywhere(worlds, scenario, tmp_path)
    outcome.check(at_least=10)
