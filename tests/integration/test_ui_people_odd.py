"""Odd bodies and names at the addresses about people: one clear refusal, and nothing breaks."""

from __future__ import annotations

import json

import pytest
from yarl import URL

from bus.connection import Bus
from schemas.people import Role
from tests.integration.signed_in import Headers, Town, town
from ui.routes import OPERATIONS

pytestmark = pytest.mark.timeout(300)

TAGS = {"account", "people", "sharing"}
JOB = "0d4k8q2m-7xv3"
ODD: tuple[object, ...] = (
    None,
    [],
    "x",
    7,
    {},
    {"name": 7, "password": [], "link": {}},
    {"name": "x" * 100_000, "password": "x" * 100_000, "link": "x" * 100_000},
    {"name": "\x00", "password": "\ud800", "link": "\u202e"},
    {"link": "ann." + "0" * 64},
    {"link": f"{JOB}." + "0" * 64},
    {"name": "stoker.>", "password": "p", "scope": "viewer"},
    {"name": "a", "scope": "king"},
    {"name": "", "scope": "viewer"},
    {"name": "a", "scope": "viewer", "user": "*.>"},
    {"seconds": -1},
    {"seconds": 0},
    {"seconds": 1e308},
    {"seconds": "soon"},
    {"seconds": True},
    {"name": "a", "scope": "viewer", "seconds": 1e308},
    {"name": "a", "scope": "viewer", "seconds": -5},
    {"old": "x", "new": ""},
    {"old": "x" * 100_000, "new": "y" * 100_000},
    {"new": "\ud800" * 20},
    {"role": "king"},
    {"teams": "vision"},
    {"teams": ["*", ">", "a b", ""]},
    {"teams": ["t"] * 10_000},
    {"email": "x" * 100_000},
    {"email": "a\nb@c"},
)
RAW = (b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"seconds": NaN}', b'{"seconds": 1e999}', b"0" * 5000)
NAMES = (
    "ann",
    "nobody",
    "%2e%2e",
    "*",
    "%3e",
    "a.b",
    "a%00b",
    "A",
    "x" * 300,
    "%F0%9F%92%A9",
    "a%0Ab",
    "%ED%A0%80",
)
HOLES = ("{user}", "{token}", "{share}")


@pytest.fixture
async def place(bus: Bus) -> object:
    async with town(bus, request_timeout=2.0) as made:
        await made.person("ann")
        await made.person("ada", Role.ADMIN)
        await made.job(JOB, "ann")
        yield made


def bodies() -> list[bytes]:
    return [*(json.dumps(body).encode() for body in ODD), *RAW]


async def test_no_body_and_no_name_breaks_anything(place: Town) -> None:
    """As an admin by a token: everything is looked at, and nothing stops at the door."""
    token = await place.token("ada", Role.ADMIN)
    for operation in OPERATIONS:
        if operation.tag not in TAGS or operation.method == "GET":
            continue
        for data in bodies() if operation.body else [b""]:
            path = operation.path.replace("{job}", JOB)
            for hole in HOLES:
                path = path.replace(hole, "nobody")
            await refused_well(place, operation.method, path, token, data)
        if any(hole in operation.path for hole in HOLES):
            for name in NAMES:
                path = operation.path.replace("{job}", JOB)
                for hole in HOLES:
                    path = path.replace(hole, name)
                await refused_well(place, operation.method, path, token, b"{}")


async def refused_well(place: Town, method: str, path: str, headers: Headers, data: bytes) -> None:
    async with place.http.request(
        method,
        URL(place.url + path, encoded=True),
        headers=headers,
        data=data,
        allow_redirects=False,
    ) as answer:
        text = await answer.text()
    assert answer.status < 500, f"{method} {path} {data[:100]!r}: {answer.status} {text[:300]}"
    assert "Traceback" not in text
    if answer.status >= 400:
        assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "value",
    ["x", "x" * 10_000, "ann." + "0" * 64 + ".x", "a.b.c", "~~~", "é", '"', "stk_ann_" + "0" * 64],
    ids=lambda value: ascii(value[:12]),
)
async def test_odd_cookies_and_tokens_are_nobodys(place: Town, value: str) -> None:
    for headers in (
        {"Cookie": f"stoker={value}"},
        {"Cookie": f"stoker-shares={value}"},
        {"Cookie": f"stoker={value}; stoker-shares={value}~{value}; stoker-oidc={value}"},
        {"Authorization": f"Bearer {value}"},
        {"Authorization": value},
    ):
        status, problem = await place.get(f"/api/v1/jobs/{JOB}", headers)
        if status == 400:
            continue  # A line this long is refused before anything is looked at.
        assert (status, problem["code"]) == (401, "not_signed_in")
    async with place.http.get(f"/shared/{value}", allow_redirects=False) as page:
        assert page.status in (400, 404)


@pytest.mark.parametrize(
    "path", ["jobs?text=%ED%A0%80", "jobs?pool=%00", "jobs?limit=%F0%9F%92%A9"]
)
async def test_odd_questions_break_nothing(place: Town, path: str) -> None:
    token = await place.token("ada", Role.ADMIN)
    async with place.http.get(
        URL(f"{place.url}/api/v1/{path}", encoded=True), headers=token
    ) as told:
        assert told.status in (200, 422)
