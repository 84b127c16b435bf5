"""Whom does an identity provider bring in, and as what?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.connection import Bus
from schemas.message import Empty
from schemas.people import Role
from schemas.people_requests import ListUsers, RemoveUser, SignedIn, UserList, Vouched
from services.people.config import PeopleConfig
from tests.integration.people_house import HERE, LOCAL, People, people_house

ISSUER = "https://login.example.org"
GROUPS = {"ml": Role.MEMBER, "root": Role.ADMIN, "look": Role.VIEWER}


@pytest.fixture
async def people(bus: Bus) -> AsyncIterator[People]:
    async with people_house(bus, PeopleConfig(groups=GROUPS), replicas=2) as house:
        yield house


def vouched(subject: str = "1", name: str = "Ada", **more: Any) -> Vouched:
    groups = more.pop("groups", ("ml",))
    return Vouched(
        issuer=ISSUER, subject=subject, name=name, groups=groups, address=HERE, **more
    )  # fmt: skip


async def come(people: People, asked: Vouched) -> SignedIn:
    return await people.ask("vouched", asked, SignedIn)


async def users(people: People) -> set[str]:
    return {
        user.name for user in (await people.ask("users", ListUsers(who=LOCAL), UserList)).users
    }  # fmt: skip


async def test_the_same_subject_is_the_same_user_whatever_they_are_called(people: People) -> None:
    first = await come(people, vouched(name="Ada Lovelace"))
    again = await come(people, vouched(name="Countess"))
    assert first.principal.name == again.principal.name == "ada-lovelace"
    assert await people.check(again.cookie) is not None
    assert await users(people) == {"ada-lovelace"}


async def test_many_first_sign_ins_at_once_make_one_user(people: People) -> None:
    entered = await asyncio.gather(*(come(people, vouched()) for _ in range(8)))
    assert {one.principal.name for one in entered} == await users(people)
    assert len(await users(people)) == 1


async def test_a_name_that_is_taken_is_nobody_elses(people: People) -> None:
    await people.add("ada", Role.ADMIN)
    entered = await come(people, vouched(name="ada"))
    assert (entered.principal.name, entered.principal.role) == ("ada-2", Role.MEMBER)


async def test_an_address_that_an_admin_wrote_down_is_that_user(people: People) -> None:
    await people.add("lovelace", teams=("vision",), email="ada@example.org")
    entered = await come(people, vouched(email="Ada@Example.org"))
    assert entered.principal.name == "lovelace"
    other = await come(people, vouched(subject="2", email="eve@example.org"))
    assert other.principal.name == "ada"


async def test_the_highest_group_counts_and_each_sign_in_looks_anew(people: People) -> None:
    await people.first("root")
    for groups, role in (
        (("look", "ml", "unknown"), Role.MEMBER),
        (("look",), Role.VIEWER),
        (("root", "look"), Role.ADMIN),
        (("ml",), Role.MEMBER),
    ):
        assert (await come(people, vouched(groups=groups))).principal.role is role


async def test_the_groups_of_the_last_admin_do_not_leave_everybody_without_one(
    people: People,
) -> None:
    assert (await come(people, vouched(groups=("root",)))).principal.role is Role.ADMIN
    assert (await come(people, vouched(groups=("ml",)))).principal.role is Role.ADMIN


async def test_who_is_in_no_group_stays_outside(people: People) -> None:
    await come(people, vouched())
    for asked in (vouched(groups=()), vouched("2", groups=("other", "*"))):
        error = await people.refused("vouched", asked)
        assert (error.problem.status, error.problem.code) == (403, "not_admitted")


async def test_a_removed_user_comes_back_as_a_new_one(people: People) -> None:
    first = await come(people, vouched())
    await people.ask("remove_user", RemoveUser(who=LOCAL, user="ada"), Empty)
    assert await people.check(first.cookie) is None
    again = await come(people, vouched())
    assert again.principal.name == "ada"
    assert await people.check(first.cookie) is None
