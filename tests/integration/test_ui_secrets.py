"""Secrets over HTTP: they go in, names come out, and the bus hears no value."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nats.aio.msg import Msg

from bus.audit_pages import Wanted, audit_page
from bus.connection import Bus
from schemas.audit import Deed
from services.secrets.config import SecretsConfig
from services.secrets.service import run
from ui.app import serving
from ui.config import UiConfig

VALUE = "canary-91d2-é"


@pytest.fixture
async def http(bus: Bus, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with asyncio.TaskGroup() as group:
        service = group.create_task(run(bus, SecretsConfig(tmp_path / "secrets.key")))
        async with (
            serving(bus, UiConfig(port=0, owner="ann")) as address,
            aiohttp.ClientSession(address) as session,
        ):
            yield session
        service.cancel()


async def put(http: aiohttp.ClientSession, name: str, body: Any) -> tuple[int, str]:
    async with http.put(f"/api/v1/secrets/{name}", json=body) as answer:
        return answer.status, await answer.text()


async def names(http: aiohttp.ClientSession) -> list[str]:
    async with http.get("/api/v1/secrets") as answer:
        assert answer.status == 200
        return [one["name"] for one in (await answer.json())["secrets"]]


async def test_a_secret_is_set_listed_and_removed_and_that_is_noted(
    http: aiohttp.ClientSession, bus: Bus
) -> None:
    assert await put(http, "TOKEN", {"value": VALUE}) == (204, "")
    encoded = base64.b64encode(b"\0\1").decode()
    assert await put(http, "KEY", {"base64": encoded}) == (204, "")
    assert await names(http) == ["KEY", "TOKEN"]
    async with http.delete("/api/v1/secrets/KEY") as answer:
        assert answer.status == 204
    async with http.delete("/api/v1/secrets/KEY") as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "no_such_secret")
    assert await names(http) == ["TOKEN"]
    noted = (await audit_page(bus, Wanted())).entries
    assert [(one.deed, one.who, one.target) for one in noted] == [
        (Deed.SECRET_REMOVED, "ann", "KEY"),
        (Deed.SECRET_SET, "ann", "KEY"),
        (Deed.SECRET_SET, "ann", "TOKEN"),
    ]
    assert noted[0].address == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        pytest.param("A-B", {"value": VALUE}, 422, id="a bad name"),
        pytest.param("A", {"value": ""}, 422, id="nothing"),
        pytest.param("A", {}, 422, id="no value"),
        pytest.param("A", {"value": VALUE, "base64": "AAAA"}, 422, id="two values"),
        pytest.param("A", {"value": [VALUE]}, 422, id="a list"),
        pytest.param("A", {"base64": VALUE}, 422, id="no base64"),
        pytest.param("A", {"value": VALUE * 5000}, 422, id="too long"),
        pytest.param("A", {"value": VALUE * 50_000}, 413, id="far too long"),
        pytest.param("A", {"value": "\ud800" + VALUE}, 422, id="no text"),
        pytest.param("A", [VALUE], 422, id="no object"),
    ],
)
async def test_a_bad_one_gets_one_clear_error_that_does_not_repeat_it(
    http: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    name: str,
    body: Any,
    status: int,
) -> None:
    told, text = await put(http, name, body)
    assert told == status, text
    assert "canary" not in text
    assert "canary" not in caplog.text
    assert await names(http) == []


async def test_whoever_hears_the_bus_hears_no_value(http: aiohttp.ClientSession, bus: Bus) -> None:
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject.encode() + message.data)

    async with bus.subscribe(">", hear):
        await bus.flush()
        await put(http, "TOKEN", {"value": VALUE})
        await bus.flush()
    assert any(one.startswith(b"stoker.req.secrets.set") for one in heard)
    assert not any(b"canary" in one for one in heard)


async def test_without_the_service_the_page_says_so(bus: Bus) -> None:
    config = UiConfig(port=0, owner="ann", request_timeout=0.1)
    async with serving(bus, config) as address, aiohttp.ClientSession(address) as http:
        assert (await put(http, "TOKEN", {"value": VALUE}))[0] == 503
