"""Does somebody come in by way of a real provider, and nobody by what was made up?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from yarl import URL

from bus.connection import Bus
from schemas.people import Role
from schemas.people_requests import PutUser, UserView
from services.people.config import PeopleConfig
from stoker.ports import any_free
from tests.integration.signed_in import RULER, Town, town
from tests.oidc.running import CLIENT, SECRET, provider, sign_in_there
from ui.config import OidcConfig

pytestmark = [pytest.mark.oidc, pytest.mark.timeout(300)]

SCOPES = ("openid", "profile", "email", "groups")
GROUPS = {"trainers": Role.MEMBER, "rulers": Role.ADMIN}


@dataclass
class Visitor:
    """A browser: with a jar."""

    place: Town
    http: aiohttp.ClientSession

    async def begin(self, path: str = "/sign-in/oidc") -> str:
        """The provider's address."""
        async with self.http.get(self.place.url + path, allow_redirects=False) as answer:
            assert answer.status == 303
            return answer.headers["Location"]

    async def back(self, address: URL) -> str:
        """Where the page sends them on to."""
        async with self.http.get(address, allow_redirects=False) as answer:
            assert answer.status == 303
            return answer.headers["Location"]

    async def come_in(self, login: str, path: str = "/sign-in/oidc") -> str:
        return await self.back(await sign_in_there(self.http, await self.begin(path), login))

    async def me(self) -> dict[str, object] | None:
        async with self.http.get(self.place.url + "/api/v1/me") as answer:
            return await answer.json() if answer.status == 200 else None


@pytest.fixture
async def visitor(bus: Bus) -> AsyncIterator[Visitor]:
    own, theirs = any_free("127.0.0.1"), any_free("127.0.0.1")
    back = f"http://127.0.0.1:{own}/sign-in/oidc/callback"
    async with provider(theirs, back) as real:
        oidc = OidcConfig(real.issuer, CLIENT, SECRET, SCOPES, label="the house")
        config = {"port": own, "oidc": oidc}
        async with (
            town(bus, PeopleConfig(groups=GROUPS), **config) as place,
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
        ):
            yield Visitor(place, http)


async def test_a_group_becomes_a_role(visitor: Visitor) -> None:
    async with visitor.http.get(visitor.place.url + "/sign-in") as page:
        assert "Continue with the house" in await page.text()
    assert await visitor.come_in("ann+trainers", "/sign-in/oidc?next=/workers") == "/workers"
    me = await visitor.me()
    assert me is not None
    assert (me["name"], me["role"], me["way"]) == ("ann", "member", "session")


async def test_the_same_person_is_the_same_user(visitor: Visitor) -> None:
    for _ in range(2):
        assert await visitor.come_in("ada+rulers") == "/"
    me = await visitor.me()
    assert me is not None
    assert (me["name"], me["role"]) == ("ada", "admin")
    async with visitor.http.get(visitor.place.url + "/api/v1/people") as answer:
        assert [user["name"] for user in (await answer.json())["users"]] == ["ada"]


async def test_who_is_in_no_group_that_counts_stays_outside(visitor: Visitor) -> None:
    assert await visitor.come_in("eve") == "/sign-in?trouble=refused"
    assert await visitor.me() is None
    async with visitor.http.get(visitor.place.url + "/sign-in?trouble=refused") as page:
        assert "Ask an admin" in await page.text()


@pytest.mark.parametrize(
    ("login", "name"), [("amy+trainers", "boss"), ("amy+trainers+unproven", "amy")]
)
async def test_an_address_counts_only_where_it_was_proven(
    visitor: Visitor, login: str, name: str
) -> None:
    asked = PutUser(who=RULER, user="boss", role=Role.MEMBER, email="amy@example.org")
    await visitor.place.ask("put_user", asked, UserView)
    assert await visitor.come_in(login) == "/"
    me = await visitor.me()
    assert me is not None
    assert me["name"] == name


async def test_a_code_counts_once(visitor: Visitor) -> None:
    address = await sign_in_there(visitor.http, await visitor.begin(), "ann+trainers")
    cookies = visitor.http.cookie_jar.filter_cookies(address)
    assert await visitor.back(address) == "/"
    visitor.http.cookie_jar.clear()
    visitor.http.cookie_jar.update_cookies({"stoker-oidc": cookies["stoker-oidc"].value}, address)
    assert await visitor.back(address) == "/sign-in?trouble=away"
    assert await visitor.me() is None


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"state": "made-up"}, "stale"),
        ({"state": ""}, "stale"),
        ({"code": "made-up"}, "away"),
        ({"code": ""}, "provider"),
        ({"iss": "http://127.0.0.1:1"}, "provider"),
        ({"iss": ""}, "provider"),
        ({"error": "access_denied"}, "provider"),
    ],
    ids=lambda value: (
        "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
    ),
)
async def test_what_was_made_up_lets_nobody_in(
    visitor: Visitor, change: dict[str, str], trouble: str
) -> None:
    address = await sign_in_there(visitor.http, await visitor.begin(), "ann+trainers")
    assert await visitor.back(address.update_query(change)) == f"/sign-in?trouble={trouble}"
    assert await visitor.me() is None


async def test_an_answer_for_another_browser_lets_nobody_in(visitor: Visitor) -> None:
    """Or else one could sign somebody in as oneself, and read what they then submit."""
    address = await sign_in_there(visitor.http, await visitor.begin(), "eve+trainers")
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as other:
        victim = Visitor(visitor.place, other)
        assert await victim.back(address) == "/sign-in?trouble=stale"
        await victim.begin()
        assert await victim.back(address) == "/sign-in?trouble=stale"
        assert await victim.me() is None


async def test_a_code_that_was_stolen_is_worth_nothing(visitor: Visitor) -> None:
    """PKCE: it counts only together with what lies in the browser that began."""
    stolen = await sign_in_there(visitor.http, await visitor.begin(), "ann+trainers")
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as other:
        thief = Visitor(visitor.place, other)
        state = URL(await thief.begin()).query["state"]
        assert await thief.back(stolen.update_query(state=state)) == "/sign-in?trouble=away"
        assert await thief.me() is None


async def test_nobody_is_sent_to_another_site(visitor: Visitor) -> None:
    assert await visitor.come_in("ann+trainers", "/sign-in/oidc?next=//evil.example") == "/"


async def test_a_provider_that_is_away_is_said_so(bus: Bus) -> None:
    oidc = OidcConfig(f"http://127.0.0.1:{any_free('127.0.0.1')}", CLIENT)
    async with (
        town(bus, oidc=oidc) as place,
        place.http.get("/sign-in/oidc", allow_redirects=False) as answer,
    ):
        assert answer.headers["Location"] == "/sign-in?trouble=away"


async def test_without_a_provider_there_is_no_such_way(bus: Bus) -> None:
    async with town(bus) as place:
        status, problem = await place.get("/sign-in/oidc")
        assert (status, problem["code"]) == (404, "no_provider")
        async with place.http.get("/sign-in") as page:
            assert "Continue with" not in await page.text()
