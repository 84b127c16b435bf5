"""Who comes in at the page, by what, and what keeps others out?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import aiohttp
import pytest

from bus.connection import Bus
from schemas.message import Empty
from schemas.people import Role
from schemas.people_requests import SetPassword
from tests.integration.signed_in import Headers, Town, town
from ui.rounds import SIGNED_OUT, Rounds

PASSWORD = "four words that fit"


@pytest.fixture
async def ann(bus: Bus) -> AsyncIterator[Town]:
    """A town with one member, ann."""
    async with town(bus) as made:
        await made.person("ann")
        yield made


async def set_password(place: Town, name: str) -> None:
    who = await place.who(await place.session(name))
    await place.ask("set_password", SetPassword(who=who, new=PASSWORD), Empty)


async def test_nobody_sees_anything_without_signing_in(ann: Town) -> None:
    status, body = await ann.get("/api/v1/jobs")
    assert (status, body["code"]) == (401, "not_signed_in")
    async with ann.http.get("/api/v1/jobs") as answer:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.content_type == "application/problem+json"
    for path in ("/healthz", "/readyz", "/sign-in", "/static/stoker.css"):
        assert (await ann.get(path))[0] == 200


@pytest.mark.parametrize(
    ("path", "next"),
    [
        ("/", "/sign-in"),
        ("/workers", "/sign-in?next=/workers"),
        ("/?show=failed&text=a%20b", "/sign-in?next=/?show%3Dfailed%26text%3Da%2520b"),
        ("/jobs/0d4k8q2m-7xv3", "/sign-in?next=/jobs/0d4k8q2m-7xv3"),
    ],
)
async def test_a_page_sends_to_where_one_signs_in(ann: Town, path: str, next: str) -> None:
    async with ann.http.get(path, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, next)
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_one_time_link_signs_in_once(ann: Town) -> None:
    link = await ann.link("ann")
    async with ann.http.get(f"/sign-in#link={link}") as answer:
        assert link not in await answer.text()
    status, me = await ann.send("POST", "/api/v1/sign-in", None, {"link": link})
    assert (status, me["name"], me["role"], me["password"]) == (200, "ann", "member", False)
    status, problem = await ann.send("POST", "/api/v1/sign-in", None, {"link": link})
    assert (status, problem["code"]) == (401, "wrong_link")


async def test_the_cookie_is_for_the_browser_alone(ann: Town) -> None:
    await set_password(ann, "ann")
    body = {"name": "ann", "password": PASSWORD}
    async with ann.http.post("/api/v1/sign-in", json=body) as answer:
        kept = SimpleCookie(answer.headers["Set-Cookie"])["stoker"]
        text = await answer.text()
    assert kept.value not in text
    assert (kept["httponly"], kept["samesite"], kept["path"]) == (True, "Lax", "/")
    assert not kept["domain"]
    status, me = await ann.get("/api/v1/me", {"Cookie": f"stoker={kept.value}"})
    assert (status, me["name"], me["way"]) == (200, "ann", "session")


async def test_over_https_the_cookie_is_of_this_host_alone(bus: Bus) -> None:
    """HTTPS by a proxy that is believed."""
    async with town(bus, proxies=("127.0.0.0/8",)) as place:
        await place.person("ann")
        secure = {"X-Forwarded-Proto": "https"}
        link = {"link": await place.link("ann")}
        async with place.http.post("/api/v1/sign-in", json=link, headers=secure) as answer:
            cookie = answer.headers["Set-Cookie"]
        kept = SimpleCookie(cookie)["__Host-stoker"]
        assert kept["secure"]
        assert not kept["domain"]
        mine = {"Cookie": f"__Host-stoker={kept.value}"}
        assert (await place.get("/api/v1/me", {**secure, **mine}))[0] == 200
        plain = {"Cookie": f"stoker={kept.value}"}
        assert (await place.get("/api/v1/me", {**secure, **plain}))[0] == 401


async def test_a_wrong_password_says_no_more_than_that(ann: Town) -> None:
    await set_password(ann, "ann")
    for name in ("ann", "nobody-here"):
        body = {"name": name, "password": "wrong"}
        status, problem = await ann.send("POST", "/api/v1/sign-in", None, body)
        assert (status, problem["code"]) == (401, "wrong_sign_in")


async def test_who_guesses_is_told_how_long_to_wait(ann: Town) -> None:
    await set_password(ann, "ann")
    body = {"name": "ann", "password": "wrong"}
    for _ in range(30):
        async with ann.http.post("/api/v1/sign-in", json=body) as answer:
            if answer.status == 429:
                break
            assert answer.status == 401
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    status, problem = await ann.send(
        "POST", "/api/v1/sign-in", None, {**body, "password": PASSWORD}
    )
    assert (status, problem["code"]) == (429, "too_many_tries")
    assert problem["retry_after"] > 0


async def test_signing_out_ends_the_session(ann: Town) -> None:
    mine = await ann.cookie("ann")
    assert (await ann.get("/api/v1/me", mine))[0] == 200
    async with ann.http.post("/api/v1/sign-out", headers=mine) as answer:
        assert answer.status == 204
        assert SimpleCookie(answer.headers["Set-Cookie"])["stoker"].value == ""
    assert (await ann.get("/api/v1/me", mine))[0] == 401
    assert (await ann.send("POST", "/api/v1/sign-out", mine))[0] == 204, "repeated, no error"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
    ],
)
async def test_with_a_cookie_only_the_page_itself_changes_anything(
    ann: Town, headers: Headers, status: int
) -> None:
    mine = {"Cookie": f"stoker={await ann.session('ann')}"}
    body = {"name": "laptop", "scope": "viewer"}
    code, answer = await ann.send("POST", "/api/v1/tokens", {**mine, **headers}, body)
    assert code == status, answer
    async with ann.http.get("/api/v1/events/ws", headers={**mine, **headers}) as handshake:
        assert handshake.status != 403, "a plain GET is no handshake"
    handshake_headers = {**mine, **headers}
    if status == 403:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await ann.http.ws_connect("/api/v1/events/ws", headers=handshake_headers)
        assert refusal.value.status == 403
    else:
        async with ann.http.ws_connect("/api/v1/events/ws", headers=handshake_headers) as ws:
            assert (await ws.receive_json(timeout=10))["type"] == "hello"


async def test_a_token_needs_no_origin_and_makes_cookies_count_for_nothing(ann: Town) -> None:
    await ann.person("ada", Role.ADMIN)
    token = await ann.token("ann", Role.MEMBER)
    body = {"name": "from a script", "scope": "viewer"}
    status, made = await ann.send("POST", "/api/v1/tokens", token, body)
    assert status == 201
    both = {**token, "Cookie": f"stoker={await ann.session('ada')}"}
    assert (await ann.get("/api/v1/people", both))[0] == 403
    bad = {"Authorization": "Bearer stk_ann_wrong", "Cookie": both["Cookie"]}
    assert (await ann.get("/api/v1/people", bad))[0] == 401
    assert (await ann.get("/api/v1/people", {**bad, "Authorization": "Bearer "}))[0] == 401
    assert made["secret"] not in str(await ann.get("/api/v1/tokens", token))


async def test_a_token_makes_none_that_may_more(ann: Town) -> None:
    await ann.person("ada", Role.ADMIN)
    narrow = await ann.token("ada", Role.MEMBER)
    body = {"name": "more", "scope": "admin"}
    status, problem = await ann.send("POST", "/api/v1/tokens", narrow, body)
    assert (status, problem["code"]) == (403, "scope_too_wide")


async def test_a_token_that_may_only_look_changes_nothing(ann: Town) -> None:
    """Not even its user's own account: whoever finds it finds no more."""
    reader = await ann.token("ann", Role.VIEWER)
    for path in ("tokens", "me/password", "me/sessions/end", "jobs"):
        status, problem = await ann.send("POST", f"/api/v1/{path}", reader, {})
        assert (status, problem["code"]) == (403, "forbidden")
    assert (await ann.get("/api/v1/tokens", reader))[0] == 200


async def test_a_revoked_token_is_nobodys(ann: Town) -> None:
    mine = await ann.cookie("ann")
    body = {"name": "laptop", "scope": "viewer"}
    _, made = await ann.send("POST", "/api/v1/tokens", mine, body)
    bearer = {"Authorization": f"Bearer {made['secret']}"}
    assert (await ann.get("/api/v1/me", bearer))[0] == 200
    path = f"/api/v1/tokens/{made['token']['id']}"
    assert (await ann.send("DELETE", path, mine))[0] == 204
    assert (await ann.get("/api/v1/me", bearer))[0] == 401
    assert (await ann.send("DELETE", path, mine))[0] == 204


async def test_the_other_sessions_end(ann: Town) -> None:
    mine, other = await ann.cookie("ann"), await ann.cookie("ann")
    _, listed = await ann.get("/api/v1/me/sessions", mine)
    assert len(listed["sessions"]) == 2
    assert (await ann.send("POST", "/api/v1/me/sessions/end", mine))[0] == 204
    assert (await ann.get("/api/v1/me", mine))[0] == 200
    assert (await ann.get("/api/v1/me", other))[0] == 401


async def test_a_viewer_who_was_signed_out_is_hung_up_on(ann: Town) -> None:
    mine = await ann.cookie("ann")
    async with ann.http.ws_connect("/api/v1/events/ws", headers=mine) as ws:
        assert (await ws.receive_json(timeout=10))["type"] == "hello"
        await ann.send("POST", "/api/v1/sign-out", mine)
        async with asyncio.TaskGroup() as group:
            group.create_task(Rounds(ann.app).once())
            message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, SIGNED_OUT)


async def test_a_viewer_of_other_rights_comes_back_for_them(ann: Town) -> None:
    mine = await ann.cookie("ann")
    async with ann.http.ws_connect("/api/v1/events/ws", headers=mine) as ws:
        await ws.receive_json(timeout=10)
        await Rounds(ann.app).once()
        await ann.person("ann", Role.ADMIN)
        ann.forget()
        async with asyncio.TaskGroup() as group:
            group.create_task(Rounds(ann.app).once())
            message = await ws.receive(timeout=10)
    assert message.data == aiohttp.WSCloseCode.SERVICE_RESTART


async def test_where_nobody_can_tell_who_asks_nobody_comes_in(bus: Bus) -> None:
    async with town(bus, request_timeout=0.1) as place:
        await place.person("ann")
        mine = await place.cookie("ann")
        place.services[0].cancel()
        await asyncio.wait((place.services[0],))
        status, problem = await place.get("/api/v1/jobs", mine)
        assert (status, problem["code"]) == (503, "unavailable")
        assert (await place.get("/healthz"))[0] == 200


async def test_without_sign_in_whoever_comes_is_the_owner(bus: Bus) -> None:
    async with town(bus, sign_in=False, owner="ann") as place:
        status, me = await place.get("/api/v1/me")
        assert (status, me["name"], me["role"], me["way"]) == (200, "ann", "admin", "local")
        async with place.http.get("/sign-in", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert (await place.send("POST", "/api/v1/sign-in", None, {}))[0] == 404
