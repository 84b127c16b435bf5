"""Who comes in, by what, and for how long?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.connection import Bus
from bus.errors import Refused
from schemas.audit import Deed
from schemas.message import Empty
from schemas.people import Role, Way
from schemas.people_requests import RemoveUser, SetPassword, SignedIn, SignIn, SignOut
from tests.integration.people_house import HERE, LOCAL, PASSWORD, People, people_house


@pytest.fixture
async def people(bus: Bus) -> AsyncIterator[People]:
    """Two replicas that share the requests."""
    async with people_house(bus, replicas=2) as house:
        yield house


async def test_the_first_start_makes_one_admin_however_many_ask(people: People) -> None:
    made = await asyncio.gather(*(people.first(name) for name in ("ada", "bob", "ada", "cleo")))
    names = {one.name for one in made}
    assert len(names) == 1
    assert {one.user.role for one in made if one.user} == {Role.ADMIN}
    assert (await people.first("someone-else")).name in names


async def test_a_link_begins_one_session_and_no_second_one(people: People) -> None:
    await people.add("ada")
    link = await people.link("ada")
    tries = (
        people.ask("sign_in", SignIn(link=link, address=HERE), SignedIn) for _ in range(8)
    )  # fmt: skip
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    entered = [one for one in outcomes if isinstance(one, SignedIn)]
    assert len(entered) == 1
    assert all(
        isinstance(one, Refused) and one.problem.code in ("wrong_link", "too_many_tries")
        for one in outcomes
        if one is not entered[0]
    )
    who = await people.check(entered[0].cookie)
    assert who is not None
    assert (who.name, who.role, who.way, who.sees) == ("ada", Role.MEMBER, Way.SESSION, ("ada",))


async def test_a_repeated_request_gets_the_same_session(people: People) -> None:
    await people.add("ada")
    asked = SignIn(link=await people.link("ada"), address=HERE)
    first = await people.ask("sign_in", asked, SignedIn)
    again = await people.ask("sign_in", asked, SignedIn)
    assert again.cookie == first.cookie


async def test_a_link_that_has_run_out_opens_nothing(people: People) -> None:
    await people.add("ada")
    link = await people.link("ada", life=900.0)
    people.clock.now += 901
    error = await people.refused("sign_in", SignIn(link=link, address=HERE))
    assert (error.problem.status, error.problem.code) == (401, "wrong_link")


async def test_a_new_link_makes_the_one_before_void(people: People) -> None:
    await people.add("ada")
    before = await people.link("ada")
    await people.link("ada")
    error = await people.refused("sign_in", SignIn(link=before, address=HERE))
    assert error.problem.code == "wrong_link"


async def test_a_password_signs_in_once_it_is_set(people: People) -> None:
    await people.with_password("ada")
    asked = SignIn(name="ada", password=PASSWORD, address=HERE)
    entered = await people.ask("sign_in", asked, SignedIn)
    assert entered.password
    assert await people.check(entered.cookie) is not None


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "not this one at all"), ("nobody", PASSWORD), ("", PASSWORD), ("A.*", PASSWORD)],
    ids=["wrong-password", "unknown-user", "no-name", "no-such-name"],
)
async def test_a_wrong_name_and_a_wrong_password_look_alike(
    people: People, name: str, password: str
) -> None:
    await people.with_password("ada")
    error = await people.refused("sign_in", SignIn(name=name, password=password))
    assert (error.problem.status, error.problem.code) == (401, "wrong_sign_in")


async def test_a_user_without_a_password_does_not_sign_in_with_an_empty_one(
    people: People,
) -> None:
    await people.add("ada")
    error = await people.refused("sign_in", SignIn(name="ada", password=""))
    assert error.problem.code == "wrong_sign_in"


async def test_a_forged_cookie_counts_nowhere(people: People) -> None:
    await people.add("ada")
    cookie = (await people.enter("ada")).cookie
    name, secret, seal = cookie.split(".")
    turned = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    for forged in (
        f"{name}.{turned}.{seal}",
        f"{name}.{secret}.{'0' * len(seal)}",
        f"{name}.{secret}",
        f"root.{secret}.{seal}",
        f"*.{secret}.{seal}",
        f">.{secret}.{seal}",
        "",
        "x" * 100_000,
        "ada.é.é",
    ):
        assert await people.check(forged) is None
    assert await people.check(cookie) is not None


async def test_a_session_ends_when_nobody_uses_it_and_after_a_week_in_any_case(
    people: People,
) -> None:
    await people.add("ada")
    idle = (await people.enter("ada")).cookie
    used = (await people.enter("ada")).cookie
    for _ in range(7):
        people.clock.now += 86_000
        assert await people.check(used) is not None
    assert await people.check(idle) is None
    people.clock.now += 5_000
    assert await people.check(used) is None


async def test_signing_out_ends_the_session_and_may_be_repeated(people: People) -> None:
    await people.add("ada")
    cookie = (await people.enter("ada")).cookie
    for _ in range(2):
        await people.ask("sign_out", SignOut(cookie=cookie), Empty)
    await people.ask("sign_out", SignOut(cookie="rubbish"), Empty)
    assert await people.check(cookie) is None


async def test_a_removed_user_is_nobody_at_once_and_one_of_the_same_name_is_another(
    people: People,
) -> None:
    await people.add("ada")
    entered = await people.enter("ada")
    token = await people.token(entered.principal)
    link = await people.link("ada")
    await people.ask("remove_user", RemoveUser(who=LOCAL, user="ada"), Empty)
    await people.ask("remove_user", RemoveUser(who=LOCAL, user="ada"), Empty)
    assert await people.check(entered.cookie) is None
    await people.add("ada")
    assert await people.check(entered.cookie) is None
    assert await people.check(token.secret, Way.TOKEN) is None
    error = await people.refused("sign_in", SignIn(link=link, address=HERE))
    assert error.problem.code == "wrong_link"


async def test_a_new_password_ends_the_other_sessions(people: People) -> None:
    mine = await people.with_password("ada")
    other = await people.enter("ada")
    asked = SetPassword(who=mine.principal, new="five other words of mine")
    await people.ask("set_password", asked, Empty)
    assert await people.check(mine.cookie) is not None
    assert await people.check(other.cookie) is None


async def test_a_password_is_changed_with_the_old_one_alone_an_hour_after_a_link(
    people: People,
) -> None:
    mine = await people.with_password("ada")
    people.clock.now += 3601
    fresh = "five other words of mine"
    wrong = SetPassword(who=mine.principal, old="something else", new=fresh)
    assert (await people.refused("set_password", wrong)).problem.code == "wrong_password"
    right = SetPassword(who=mine.principal, old=PASSWORD, new=fresh)
    await people.ask("set_password", right, Empty)


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaaaaaa", "x" * 300])
async def test_a_weak_password_is_refused(people: People, weak: str) -> None:
    await people.add("ada")
    asked = SetPassword(who=(await people.enter("ada")).principal, new=weak)
    assert (await people.refused("set_password", asked)).problem.code == "weak_password"


async def test_a_token_sets_no_password(people: People) -> None:
    await people.add("ada")
    made = await people.token((await people.enter("ada")).principal)
    who = await people.check(made.secret, Way.TOKEN)
    assert who is not None
    error = await people.refused("set_password", SetPassword(who=who, new=PASSWORD))
    assert error.problem.status == 403


async def test_wrong_passwords_make_everybody_wait_longer_and_longer(people: People) -> None:
    await people.with_password("ada")
    wrong = SignIn(name="ada", password="not this one at all")
    for _ in range(5):
        assert (await people.refused("sign_in", wrong)).problem.code == "wrong_sign_in"
    right = SignIn(name="ada", password=PASSWORD)
    problem = (await people.refused("sign_in", right)).problem
    assert (problem.status, problem.code, problem.retry_after) == (429, "too_many_tries", 1.0)
    people.clock.now += 1.0
    assert (await people.refused("sign_in", wrong)).problem.code == "wrong_sign_in"
    assert (await people.refused("sign_in", right)).problem.retry_after == 2.0
    people.clock.now += 2.0
    await people.ask("sign_in", right, SignedIn)
    for _ in range(5):
        assert (await people.refused("sign_in", wrong)).problem.code == "wrong_sign_in"


async def test_a_hundred_tries_at_once_are_not_a_hundred_free_ones(people: People) -> None:
    await people.with_password("ada")
    wrong = SignIn(name="ada", password="not this one at all")
    outcomes = await asyncio.gather(*(people.refused("sign_in", wrong) for _ in range(30)))
    looked_at = [one for one in outcomes if one.problem.code == "wrong_sign_in"]
    assert len(looked_at) <= 5


async def test_one_address_waits_whatever_names_it_tries(people: People) -> None:
    for number in range(20):
        asked = SignIn(name=f"user{number}", password="guess guess", address="2001:db8::1")
        assert (await people.refused("sign_in", asked)).problem.code == "wrong_sign_in"
    neighbour = SignIn(name="another", password="guess guess", address="2001:db8::ffff")
    assert (await people.refused("sign_in", neighbour)).problem.status == 429
    elsewhere = SignIn(name="another", password="guess guess", address=HERE)
    assert (await people.refused("sign_in", elsewhere)).problem.status == 401


async def test_sign_ins_are_written_down_without_a_secret(people: People) -> None:
    entered = await people.with_password("ada")
    await people.refused("sign_in", SignIn(name="ada", password="wrong words here", address=HERE))
    entries = await people.audit()
    assert [one.deed for one in entries] == [
        Deed.USER_PUT, Deed.USER_PUT, Deed.SIGN_IN, Deed.USER_PUT, Deed.SIGN_IN_REFUSED,
    ]  # fmt: skip
    assert entries[-1].address == HERE
    written = " ".join(one.model_dump_json() for one in entries)
    assert "wrong words" not in written
    assert PASSWORD not in written
    assert entered.cookie.split(".")[1] not in written


async def test_no_secret_lies_in_the_bucket(people: People) -> None:
    entered = await people.with_password("ada")
    token = await people.token(entered.principal)
    link = await people.link("ada")
    kept = b" ".join(
        key.encode() + one.value for key, one in (await people.bucket.all()).items()
    )  # fmt: skip
    for secret in (PASSWORD, *(entered.cookie.split(".")[1:]), token.secret[-64:], link[-64:]):
        assert secret.encode() not in kept
