"""Limits and the audit over HTTP: refused with figures, shown, set, noted, found again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bus import subjects
from bus.audit import note
from bus.audit_pages import Wanted, audit_page
from bus.connection import Bus
from bus.permissions import ROLES
from schemas.audit import AuditEntry, Deed
from schemas.quota import Quota
from services.catalog.service import CatalogConfig
from services.catalog.service import run as run_catalog
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from tests.integration.house import zipped
from ui.app import serving
from ui.config import UiConfig

SMALL = zipped({"main.py": "print(1)\n"})
BIG = zipped({"main.py": "print(2)\n" * 100_000})
QUOTA = Quota(queued=2, upload=2 << 20)


@pytest.fixture
async def http(bus: Bus) -> AsyncIterator[aiohttp.ClientSession]:
    async with asyncio.TaskGroup() as group:
        services = [
            group.create_task(run_upload(bus, UploadConfig(quota=QUOTA))),
            group.create_task(run_scheduler(bus, SchedulerConfig(quota=QUOTA))),
            group.create_task(run_catalog(bus, CatalogConfig())),
        ]
        async with (
            serving(bus, UiConfig(port=0, owner="ann")) as address,
            aiohttp.ClientSession(address) as session,
        ):
            yield session
        for service in services:
            service.cancel()


Answer = tuple[int, dict[str, Any], dict[str, str]]


async def submit(http: aiohttp.ClientSession, data: bytes, key: str) -> Answer:
    form = aiohttp.FormData()
    form.add_field("bundle", data, filename="job.zip", content_type="application/zip")
    headers = {"Idempotency-Key": key}
    async with http.post("/api/v1/jobs", data=form, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None), dict(answer.headers)


async def get(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with http.get(path) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


async def put(http: aiohttp.ClientSession, path: str, body: object) -> tuple[int, dict[str, Any]]:
    async with http.put(path, json=body) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_full_queue_is_a_429_that_says_when_to_come_again(
    http: aiohttp.ClientSession,
) -> None:
    first = await submit(http, SMALL, "a")
    await submit(http, SMALL, "b")
    status, problem, headers = await submit(http, SMALL, "c")
    assert (status, problem["code"]) == (429, "quota_queued")
    assert headers["Content-Type"].startswith("application/problem+json")
    assert headers["Retry-After"] == "30"
    assert "2 of your jobs wait already, and your limit is 2" in problem["detail"]
    status, again, _ = await submit(http, SMALL, "a")
    assert (status, again["job"]["id"]) == (200, first[1]["job"]["id"])


async def test_an_upload_beyond_the_limit_is_a_413_before_it_is_read(
    http: aiohttp.ClientSession,
) -> None:
    await put(http, "/api/v1/quotas/ann", {"limits": {"upload": 1000}})
    headers = {"Content-Length": str(1 << 34), "Content-Type": "multipart/form-data; boundary=x"}

    async def body() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        async with http.post("/api/v1/jobs", data=body(), headers=headers) as answer:
            problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (413, "quota_upload")
    assert "your limit is 1000 bytes" in problem["detail"]


async def test_an_upload_that_hides_its_size_is_cut_off_at_the_limit(
    http: aiohttp.ClientSession, bus: Bus
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 20
            yield bytes(1 << 20)

    form = aiohttp.MultipartWriter("form-data")
    form.append(endless(), {"Content-Type": "application/zip"}).set_content_disposition(
        "form-data", name="bundle", filename="a.zip"
    )
    problem = {}
    with contextlib.suppress(aiohttp.ClientError):
        async with asyncio.timeout(30), http.post("/api/v1/jobs", data=form) as answer:
            problem = await answer.json(content_type=None)
    assert sent < 64 << 20
    assert problem.get("code", "quota_upload") == "quota_upload"
    assert (await bus.api("STREAM.INFO.OBJ_uploads"))["state"]["messages"] < 10


async def test_everybody_sees_their_own_use(http: aiohttp.ClientSession) -> None:
    await submit(http, SMALL, "a")
    async with asyncio.timeout(10):
        while True:
            shown = await get(http, "/api/v1/quota")
            if shown["used"]["queued"]:
                break
            await asyncio.sleep(0.02)
    assert shown["user"] == "ann"
    assert shown["limits"] == {"running": None, "queued": 2, "storage": None, "upload": 2 << 20}
    assert shown["used"] == {"running": 0, "queued": 1, "storage": 9}
    assert shown["own"] == []


async def test_an_admin_sets_limits_and_takes_them_back(http: aiohttp.ClientSession) -> None:
    status, shown = await put(
        http, "/api/v1/quotas/ben", {"limits": {"running": 4, "queued": None}}
    )
    assert status == 200
    assert (shown["limits"]["running"], shown["limits"]["queued"]) == (4, None)
    assert shown["own"] == ["queued", "running"]
    everybody = await get(http, "/api/v1/quotas")
    assert everybody["everybody"]["queued"] == 2
    assert [one["user"] for one in everybody["users"]] == ["ben"]
    assert everybody["users"][0]["by"] == "ann"
    status, shown = await put(http, "/api/v1/quotas/ben", {"clear": ["queued"]})
    assert (shown["limits"]["running"], shown["limits"]["queued"]) == (4, 2)
    noted = (await get(http, "/api/v1/audit?deed=quota-set"))["entries"]
    assert [one["detail"] for one in noted] == ["queued=default", "queued=none running=4"]
    assert {(one["who"], one["target"], one["address"]) for one in noted} == {
        ("ann", "ben", "127.0.0.1")
    }


@pytest.mark.parametrize(
    ("user", "body", "status"),
    [
        ("ben", {}, 422),
        ("ben", {"limits": {"running": -1}}, 422),
        ("ben", {"limits": {"running": 1 << 63}}, 422),
        ("ben", {"limits": {"running": 1 << 70}}, 422),
        ("ben", {"limits": {"walking": 1}}, 422),
        ("ben", {"limits": {"running": "many"}}, 422),
        ("ben", {"clear": ["walking"]}, 422),
        ("no.body", {"limits": {"running": 1}}, 404),
        ("a" * 300, {"limits": {"running": 1}}, 404),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_quota_that_is_none_changes_nothing(
    http: aiohttp.ClientSession, user: str, body: object, status: int
) -> None:
    answered, problem = await put(http, f"/api/v1/quotas/{user}", body)
    assert (answered, bool(problem["detail"])) == (status, True)
    assert (await get(http, "/api/v1/audit"))["entries"] == []


async def test_a_submission_and_its_cancel_are_noted_once(http: aiohttp.ClientSession) -> None:
    _, answer, _ = await submit(http, SMALL, "a")
    job = answer["job"]["id"]
    await submit(http, SMALL, "a")
    for _ in range(3):
        async with http.post(f"/api/v1/jobs/{job}/cancel") as cancelled:
            assert cancelled.status == 200
    noted = (await get(http, f"/api/v1/audit?target={job}"))["entries"]
    assert [(one["deed"], one["who"], one["address"], one["service"]) for one in noted] == [
        ("cancel", "ann", "127.0.0.1", "scheduler"),
        ("submit", "ann", "127.0.0.1", "upload"),
    ]
    async with http.post("/api/v1/jobs/0d4k8q2m-7xv3/cancel") as unknown:
        assert unknown.status == 404
    assert len((await get(http, "/api/v1/audit"))["entries"]) == 2


async def entries(bus: Bus, count: int) -> None:
    for number in range(count):
        deed = Deed.SIGN_IN if number % 50 == 0 else Deed.SUBMIT
        who = "ben" if number % 3 == 0 else "ann"
        entry = AuditEntry(at=float(number), deed=deed, who=who, target=f"job{number:04d}")
        await note(bus, "people" if deed is Deed.SIGN_IN else "upload", entry)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", range(699, -1, -1)),
        ("who=ben", range(699, -1, -3)),
        ("deed=sign-in", range(650, -1, -50)),
        ("deed=sign-in&who=ben", range(600, -1, -150)),
        ("target=JOB012", range(129, 119, -1)),
        ("target=nowhere", ()),
        ("after=600", range(699, 599, -1)),
        ("before=101", range(99, -1, -1)),
        ("since=1h", range(699, -1, -1)),
        ("until=1h", ()),
    ],
)
async def test_pages_have_no_gap_and_nothing_twice(
    http: aiohttp.ClientSession, bus: Bus, query: str, wanted: range
) -> None:
    await entries(bus, 700)
    found: list[str] = []
    cursor = ""
    async with asyncio.timeout(30):
        while True:
            page = await get(http, f"/api/v1/audit?limit=90&{query}{cursor}")
            assert len(page["entries"]) <= 90
            found += [one["target"] for one in page["entries"]]
            if page["before"] is None:
                break
            query = query if not query.startswith("before") else ""
            cursor = f"&before={page['before']}"
    assert found == [f"job{number:04d}" for number in wanted]
    assert page["last"] == 700


async def test_a_time_divides_the_entries(bus: Bus) -> None:
    await entries(bus, 5)
    rows = (await audit_page(bus, Wanted())).entries
    middle = (rows[2].stored_at + rows[3].stored_at) / 2
    late = await audit_page(bus, Wanted(since=middle))
    early = await audit_page(bus, Wanted(until=middle))
    assert [row.sequence for row in late.entries] == [5, 4, 3]
    assert [row.sequence for row in early.entries] == [2, 1]


async def test_what_cannot_be_read_hides_nothing_else(bus: Bus) -> None:
    await entries(bus, 2)
    await bus.append(subjects.audit("upload", Deed.SUBMIT), b"\xc1 no entry")
    await entries(bus, 1)
    assert [row.sequence for row in (await audit_page(bus, Wanted())).entries] == [4, 2, 1]


@pytest.mark.parametrize(
    "query",
    ["deed=walk", "before=x", "after=-1", "limit=0", "limit=501", "since=soon", "who=" + "a" * 300],
    ids=lambda query: query[:10],
)
async def test_a_bad_filter_is_one_clear_refusal(http: aiohttp.ClientSession, query: str) -> None:
    async with http.get(f"/api/v1/audit?{query}") as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (422, "bad_query")
    assert query.split("=")[0] in problem["detail"]


async def test_the_page_is_there_for_admins(http: aiohttp.ClientSession) -> None:
    async with http.get("/audit") as answer:
        text = await answer.text()
    assert answer.status == 200
    assert "js/audit.js" in text
    assert all(f'<option value="{deed}">' in text for deed in Deed)


def test_only_the_page_reads_the_audit() -> None:
    readers = {name for name, role in ROLES.items() if "AUDIT" in role.reads}
    assert readers == {"ui", "debug"}
