"""Every address by every identity: does the real page do what docs/security.md says?"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import web

from bus.connection import Bus
from schemas.access import Action
from schemas.people import Role
from tests.integration.signed_in import Headers, Town, town
from ui.access_text import IDENTITIES, LED, YES, markdown
from ui.operations import Operation, Page
from ui.routes import OPERATIONS, PAGES, add_routes

pytestmark = pytest.mark.timeout(300)

DOCS = Path(__file__).resolve().parents[2] / "docs" / "security.md"
MARKS = "<!-- access: written by ui/access_text.py, compared by a test -->\n", "<!-- end access -->"
JOB = "0d4k8q2m-7xv3"
HOLE = re.compile(r"{(\w+)}")
FILLED = {"job": JOB, "worker": "w1", "name": "no-sample", "secret": "no.secret"}
"""What stands in an address; what is not named here is nobody's."""
ASKED = {"/api/v1/jobs/{job}/log/search": "?q=x"}
ENDS_IT = ("/api/v1/sign-out", "/api/v1/me/sessions/end")
"""Who asked for these is somebody else afterwards."""
Table = dict[tuple[str, str], list[str]]


def shown() -> str:
    return DOCS.read_text().split(MARKS[0], 1)[1].split(MARKS[1], 1)[0]


def table() -> Table:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown().split("\n")]
    return {(row[0], row[1].strip("`")): row[3:] for row in rows[2:] if len(row) > 3}


def test_the_docs_show_the_table_that_the_code_makes() -> None:
    wanted = markdown()
    assert shown() == wanted, f"put this between the marks of {DOCS.name}:\n{wanted}"


def test_every_address_of_the_server_has_a_row() -> None:
    app = web.Application()
    add_routes(app)
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    rows = {("GET" if method == "page" else method, path) for method, path in table()}
    assert rows == served


def test_an_address_that_names_no_action_is_an_admins() -> None:
    one = Operation("GET", "/x", OPERATIONS[0].handler, "", "text/plain")
    assert one.action is Page("/x", PAGES[0].handler).action is Action.ADMIN


async def people(place: Town) -> dict[str, Headers]:
    """Those of the table, as they are at this page."""
    await place.person("olga", Role.MEMBER, "vision")
    await place.person("tom", Role.MEMBER, "vision")
    await place.person("vera", Role.VIEWER, "vision")
    await place.person("sven", Role.MEMBER, "speech")
    await place.person("ada", Role.ADMIN)
    await place.job(JOB, "olga")
    gone = await place.cookie("olga")
    assert (await place.send("POST", "/api/v1/sign-out", gone))[0] == 204
    secret = await place.shared(JOB, "olga")
    return {
        "nobody": {},
        "expired": gone,
        "guest": {"Cookie": f"stoker-shares={secret}", "Origin": place.url},
        "stranger": await place.cookie("sven"),
        "viewer": await place.cookie("vera"),
        "read token": await place.token("olga", Role.VIEWER),
        "teammate": await place.cookie("tom"),
        "owner": await place.cookie("olga"),
        "admin": await place.cookie("ada"),
    }


async def found(place: Town, method: str, path: str, headers: Headers) -> str:
    """What the page did, in the table's words. No body is valid: nothing is done to the end."""
    address = HOLE.sub(lambda hole: FILLED.get(hole[1], "nobodys"), path) + ASKED.get(path, "")
    async with place.http.request(
        "GET" if method == "page" else method,
        address,
        headers=headers,
        data=None if method in ("GET", "page") else b"no JSON",
        allow_redirects=False,
    ) as answer:
        text = await answer.text()
        if answer.status == 303 and answer.headers["Location"].startswith("/sign-in?next="):
            return LED
        if answer.status == 303 and answer.headers["Location"] == "/sign-in" and path == "/":
            return LED
        if answer.status == 403 and "You may not see this page" in text:
            return "403"
        code = text if answer.content_type != "application/problem+json" else json_code(text)
    assert answer.status != 500, f"{method} {path}: {text[:300]}"
    if code in ("not_signed_in", "forbidden", "unknown_job"):
        return str(answer.status)
    return YES


def json_code(text: str) -> str:
    found = re.search(r'"code": "(\w+)"', text)
    assert found is not None, text
    return found[1]


async def test_every_identity_gets_at_every_address_what_the_docs_say(bus: Bus) -> None:
    """Services that are not there answer nothing: then the page had let it through."""
    async with town(bus, request_timeout=5.0) as place:
        who = await people(place)
        assert list(who) == list(IDENTITIES)
        wrong: list[str] = []

        async def row(method: str, path: str, cells: list[str]) -> None:
            for (name, headers), wanted in zip(who.items(), cells, strict=True):
                told = await found(place, method, path, headers)
                if told != wanted:
                    wrong.append(f"{method} {path} as {name}: {told}, not {wanted}")

        rows = table()
        slots = asyncio.Semaphore(12)

        async def patiently(address: tuple[str, str]) -> None:
            async with slots:
                await row(*address, rows[address])

        last = [address for address in rows if address[1] in ENDS_IT]
        async with asyncio.TaskGroup() as group:
            for address in rows:
                if address not in last:
                    group.create_task(patiently(address))
        for address in sorted(last):
            await row(*address, rows[address])
        assert not wrong, "\n".join(sorted(wrong))
        assert len(rows) == len(OPERATIONS) + len(PAGES)
