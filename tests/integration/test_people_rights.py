"""Who rules, whose token may do what, and who sees a job by its link?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.connection import Bus
from bus.errors import Refused
from bus.records import Records
from schemas.audit import Deed
from schemas.job import Fact, Record, State
from schemas.message import Empty
from schemas.people import Principal, Role, Way
from schemas.people_requests import (
    ListShares,
    ListTokens,
    ListUsers,
    MadeShare,
    MakeToken,
    PutUser,
    RemoveUser,
    RevokeToken,
    ShareJob,
    ShareList,
    TokenList,
    Unshare,
    UserList,
    UserView,
)
from schemas.spec import JobSpec
from services.people.config import PeopleConfig
from services.people.desk import open_desk
from services.people.sweep import tidy
from tests.integration.people_house import LOCAL, People, people_house

JOB = "0d4k8q2m-7xv3"


@pytest.fixture
async def people(bus: Bus) -> AsyncIterator[People]:
    async with people_house(bus, replicas=2) as house:
        yield house


async def stored_job(people: People, owner: str) -> None:
    record = Record(
        id=JOB, owner=owner, name="one", bundle="0" * 64, spec=JobSpec(), state=State.WAITING,
        submitted_at=people.clock(), changed_at=people.clock(),
    )  # fmt: skip
    await Records(people.bus).write(record, Fact.SUBMITTED, 0)


async def roles(people: People) -> dict[str, Role]:
    found = await people.ask("users", ListUsers(who=LOCAL), UserList)
    return {user.name: user.role for user in found.users}


@pytest.mark.parametrize(
    "ask",
    [
        lambda name: ("put_user", PutUser(who=LOCAL, user=name, role=Role.MEMBER)),
        lambda name: ("remove_user", RemoveUser(who=LOCAL, user=name)),
    ],
    ids=["demoted", "removed"],
)
async def test_the_last_admin_stays_though_two_remove_each_other(people: People, ask) -> None:  # type: ignore[no-untyped-def]
    await people.first("ada")
    error = await people.refused(*ask("ada"))
    assert (error.problem.status, error.problem.code) == (409, "last_admin")
    await people.add("bob", Role.ADMIN)
    outcomes = await asyncio.gather(
        *(people.ask(verb, message, Empty) for verb, message in (ask("ada"), ask("bob"))),
        return_exceptions=True,
    )
    refused = [one for one in outcomes if isinstance(one, Refused)]
    assert [one.problem.code for one in refused] == ["last_admin"]
    assert list((await roles(people)).values()).count(Role.ADMIN) == 1


async def test_what_is_refused_changes_nothing(people: People) -> None:
    await people.first("ada")
    await people.add("bob", Role.ADMIN, teams=("vision",))
    both = await people.ask("users", ListUsers(who=LOCAL), UserList)
    new = PutUser(who=LOCAL, user="bob", role=Role.VIEWER, teams=("other",), new=True)
    assert (await people.refused("put_user", new)).problem.code == "user_exists"
    assert await people.ask("users", ListUsers(who=LOCAL), UserList) == both
    await people.add("bob", Role.MEMBER)
    both = await people.ask("users", ListUsers(who=LOCAL), UserList)
    last = PutUser(who=LOCAL, user="ada", role=Role.VIEWER, teams=("other",))
    assert (await people.refused("put_user", last)).problem.code == "last_admin"
    assert await people.ask("users", ListUsers(who=LOCAL), UserList) == both


async def test_who_can_start_it_gets_in_again_where_no_admin_is_left(people: People) -> None:
    """As after a removal that met a promotion."""
    await people.first("ada")
    kept = await people.bucket.get("user.ada")
    assert kept is not None
    await people.bucket.erase(kept.revision)
    assert (await people.first("bob")).name == "bob"
    assert await roles(people) == {"bob": Role.ADMIN}
    assert (await people.first("cleo")).name == "bob"


async def test_many_who_change_one_user_at_once_lose_nothing(people: People) -> None:
    await people.add("ada")
    changes = (
        *(PutUser(who=LOCAL, user="ada", teams=(f"team{number}",)) for number in range(8)),
        PutUser(who=LOCAL, user="ada", email="Ada@Example.org"),
        PutUser(who=LOCAL, user="ada", role=Role.VIEWER),
    )
    await asyncio.gather(*(people.ask("put_user", change, UserView) for change in changes))
    found = await people.ask("users", ListUsers(who=LOCAL), UserList)
    (ada,) = found.users
    assert (ada.email, ada.role, len(ada.teams)) == ("ada@example.org", Role.VIEWER, 1)


async def test_one_of_many_makes_a_new_user(people: People) -> None:
    asked = [PutUser(who=LOCAL, user="ada", new=True) for _ in range(8)]
    outcomes = await asyncio.gather(
        *(people.ask("put_user", one, UserView) for one in asked), return_exceptions=True
    )
    refused = [one for one in outcomes if isinstance(one, Refused)]
    assert {one.problem.code for one in refused} == {"user_exists"}
    assert len(refused) == 7


@pytest.mark.parametrize("name", ["", "Ada", "a.b", "a*", ">", "a b", "-a", "a" * 64, "ä"])
async def test_what_is_no_name_makes_no_user(people: People, name: str) -> None:
    error = await people.refused("put_user", PutUser(who=LOCAL, user=name))
    assert error.problem.code == "bad_name"


async def test_who_was_an_admin_a_moment_ago_rules_no_more(people: People) -> None:
    """The page may still believe it."""
    await people.first("ada")
    await people.add("bob", Role.ADMIN)
    bob = (await people.enter("bob")).principal
    assert bob.role is Role.ADMIN
    await people.add("bob", Role.MEMBER)
    error = await people.refused("put_user", PutUser(who=bob, user="eve", role=Role.ADMIN))
    assert error.problem.status == 403
    await people.ask("remove_user", RemoveUser(who=LOCAL, user="bob"), Empty)
    error = await people.refused("tokens", ListTokens(who=bob))
    assert error.problem.status == 401


async def test_who_shares_a_team_sees_the_others_jobs(people: People) -> None:
    await people.add("ada", teams=("vision", "audio"))
    await people.add("bob", teams=("vision",))
    await people.add("cleo", teams=("audio",))
    await people.add("dan")
    seen = {name: (await people.enter(name)).principal.sees for name in ("ada", "bob", "dan")}
    assert seen == {"ada": ("ada", "bob", "cleo"), "bob": ("ada", "bob"), "dan": ("dan",)}


async def test_a_token_does_no_more_than_its_scope_and_its_user(people: People) -> None:
    await people.first("ada")
    ada = (await people.enter("ada")).principal
    small = await people.token(ada, Role.VIEWER)
    who = await people.check(small.secret, Way.TOKEN)
    assert who is not None
    assert (who.role, who.sees) == (Role.VIEWER, ("ada",))
    asked = MakeToken(who=who, name="more", scope=Role.ADMIN)
    assert (await people.refused("make_token", asked)).problem.status == 403
    await people.add("bob", Role.VIEWER)
    bob = (await people.enter("bob")).principal
    asked = MakeToken(who=bob, name="more", scope=Role.MEMBER)
    assert (await people.refused("make_token", asked)).problem.status == 403
    asked = MakeToken(who=bob, name="hers", scope=Role.VIEWER, user="ada")
    assert (await people.refused("make_token", asked)).problem.status == 403


async def test_a_token_ends_and_makes_none_that_outlives_it(people: People) -> None:
    await people.add("ada")
    made = await people.token((await people.enter("ada")).principal, life=3600.0)
    who = await people.check(made.secret, Way.TOKEN)
    assert who is not None
    assert who.expires_at == people.clock() + 3600
    child = await people.token(who)
    assert child.token.expires_at == who.expires_at
    people.clock.now += 3600
    assert await people.check(made.secret, Way.TOKEN) is None
    assert await people.check(child.secret, Way.TOKEN) is None


async def test_a_revoked_token_is_void_and_is_not_made_again(people: People) -> None:
    await people.add("ada")
    ada = (await people.enter("ada")).principal
    asked = MakeToken(who=ada, name="laptop", scope=Role.MEMBER, request="r" * 32)
    made = await people.token(ada, request="r" * 32)
    again = await people.token(ada, request="r" * 32)
    assert again.secret == made.secret
    for _ in range(2):
        await people.ask("revoke_token", RevokeToken(who=ada, id=made.token.id), Empty)
    assert await people.check(made.secret, Way.TOKEN) is None
    assert (await people.ask("tokens", ListTokens(who=ada), TokenList)).tokens == ()
    assert (await people.refused("make_token", asked)).problem.code == "revoked"


async def test_nobody_revokes_anothers_token_but_an_admin(people: People) -> None:
    await people.add("ada")
    await people.add("bob")
    made = await people.token((await people.enter("ada")).principal)
    bob = (await people.enter("bob")).principal
    await people.ask("revoke_token", RevokeToken(who=bob, id=made.token.id), Empty)
    assert await people.check(made.secret, Way.TOKEN) is not None
    await people.ask("revoke_token", RevokeToken(who=LOCAL, id=made.token.id), Empty)
    assert await people.check(made.secret, Way.TOKEN) is None


async def test_the_last_use_of_a_token_is_shown_to_the_minute(people: People) -> None:
    await people.add("ada")
    ada = (await people.enter("ada")).principal
    made = await people.token(ada)
    used = people.clock.now
    await people.check(made.secret, Way.TOKEN)
    people.clock.now += 30
    await people.check(made.secret, Way.TOKEN)
    (row,) = (await people.ask("tokens", ListTokens(who=ada), TokenList)).tokens
    assert row.last_used_at == used
    people.clock.now += 31
    await people.check(made.secret, Way.TOKEN)
    (row,) = (await people.ask("tokens", ListTokens(who=ada), TokenList)).tokens
    assert row.last_used_at == people.clock.now


async def test_a_link_shows_one_job_until_it_is_taken_back(people: People) -> None:
    await people.add("ada")
    ada = (await people.enter("ada")).principal
    await stored_job(people, "ada")
    made = await people.ask("share", ShareJob(who=ada, job=JOB), MadeShare)
    guest = await people.check(made.secret, Way.SHARE)
    assert guest is not None
    assert (guest.name, guest.role, guest.sees, guest.jobs) == ("", Role.VIEWER, (), (JOB,))
    assert (await people.refused("tokens", ListTokens(who=guest))).problem.status == 401
    (row,) = (await people.ask("shares", ListShares(who=ada, job=JOB), ShareList)).shares
    for _ in range(2):
        await people.ask("unshare", Unshare(who=ada, job=JOB, id=row.id), Empty)
    assert await people.check(made.secret, Way.SHARE) is None
    deeds = [one.deed for one in await people.audit()]
    assert deeds[-2:] == [Deed.SHARED, Deed.UNSHARED]


async def test_a_link_ends_with_its_time_and_with_who_shared(people: People) -> None:
    await people.add("ada")
    ada = (await people.enter("ada")).principal
    await stored_job(people, "ada")
    short = await people.ask("share", ShareJob(who=ada, job=JOB, life=60.0), MadeShare)
    long = await people.ask("share", ShareJob(who=ada, job=JOB), MadeShare)
    people.clock.now += 60
    assert await people.check(short.secret, Way.SHARE) is None
    assert await people.check(long.secret, Way.SHARE) is not None
    await people.ask("remove_user", RemoveUser(who=LOCAL, user="ada"), Empty)
    assert await people.check(long.secret, Way.SHARE) is None


async def test_nobody_shares_a_job_that_they_could_not_stop(people: People) -> None:
    await stored_job(people, "ada")
    await people.add("bob")
    bob = (await people.enter("bob")).principal
    assert (await people.refused("share", ShareJob(who=bob, job=JOB))).problem.status == 404
    await people.add("ada", teams=("vision",))
    await people.add("cleo", Role.VIEWER, teams=("vision",))
    cleo = (await people.enter("cleo")).principal
    assert (await people.refused("share", ShareJob(who=cleo, job=JOB))).problem.status == 403
    for job in ("0d4k8q2m-0000", "nothing", "*", ">"):
        error = await people.refused("share", ShareJob(who=LOCAL, job=job))
        assert error.problem.status == 404


async def test_what_has_run_out_leaves_nothing_in_the_bucket(people: People) -> None:
    await people.first("ada")
    ada = (await people.enter("ada")).principal
    await people.token(ada, life=60.0)
    revoked = await people.token(ada, request="r" * 32)
    await people.ask("revoke_token", RevokeToken(who=ada, id=revoked.token.id), Empty)
    await stored_job(people, "ada")
    await people.ask("share", ShareJob(who=ada, job=JOB, life=60.0), MadeShare)
    people.clock.now += 60 * 86_400
    desk = await open_desk(people.bus, PeopleConfig(), people.clock)
    await tidy(desk)
    info = await people.bus.api("STREAM.INFO.KV_people", {"subjects_filter": ">"})
    assert set(info["state"]["subjects"]) == {
        "$KV.people.admins", "$KV.people.key", "$KV.people.user.ada",
    }  # fmt: skip


async def test_a_request_that_is_no_request_is_refused(people: People) -> None:
    assert (await people.refused("check", Empty())).problem.code == "bad_request"
    await people.first("ada")
    await people.token((await people.enter("ada")).principal, Role.ADMIN)
    for name, key in (("*", "*"), ("ada", "*"), ("ada", ""), ("ada", ">")):
        nobody = Principal(name=name, role=Role.ADMIN, way=Way.TOKEN, key=key)
        assert (await people.refused("users", ListUsers(who=nobody))).problem.status == 401
