"""Do the page's requests reach the services, and their answers the page?"""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bus.connection import Bus
from services.catalog.service import CatalogConfig
from services.catalog.service import run as run_catalog
from services.scheduler.config import SchedulerConfig
from services.scheduler.service import run as run_scheduler
from services.upload.config import UploadConfig
from services.upload.service import run as run_upload
from ui.app import serving
from ui.config import UiConfig

Session = aiohttp.ClientSession


def bundle(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return buffer.getvalue()


HELLO = bundle(main__py="print('hello')", README__md="read me")


@pytest.fixture
async def http(bus: Bus, tmp_path: Path) -> AsyncIterator[Session]:
    """The page with real services, and no worker."""
    sample = tmp_path / "examples" / "hello"
    sample.mkdir(parents=True)
    (sample / "main.py").write_text('"""Says hello."""\n\nprint("hello")\n')
    config = UiConfig(port=0, examples=tmp_path / "examples")
    async with asyncio.TaskGroup() as group:
        services = [
            group.create_task(run_upload(bus, UploadConfig())),
            group.create_task(run_scheduler(bus, SchedulerConfig())),
            group.create_task(run_catalog(bus, CatalogConfig())),
        ]
        async with serving(bus, config) as address, Session(address) as session:
            yield session
        for service in services:
            service.cancel()


async def post(
    http: Session, zipped: bytes, spec: dict[str, Any] | None = None, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    form = aiohttp.FormData()
    form.add_field("bundle", zipped, filename="job.zip", content_type="application/zip")
    form.add_field("spec", json.dumps(spec or {}), content_type="application/json")
    headers = {"Idempotency-Key": key} if key else {}
    async with http.post("/api/v1/jobs", data=form, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def until_listed(http: Session, query: str, wanted: int) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            async with http.get(f"/api/v1/jobs?{query}") as answer:
                found: dict[str, Any] = await answer.json()
            if len(found["jobs"]) == wanted:
                return found
            await asyncio.sleep(0.02)


async def test_an_upload_becomes_a_job_that_is_listed_and_shown(http: Session) -> None:
    spec = {"name": "mine", "arguments": ["--x", "two words"], "resources": {"memory": "1g"}}
    async with http.ws_connect("/api/v1/events/ws") as events:
        status, answer = await post(http, HELLO, spec)
        assert status == 201
        job = answer["job"]["id"]
        assert (await events.receive_json(timeout=5))["type"] == "hello"
        frame = await events.receive_json(timeout=5)
        assert frame["jobs"][0]["id"] == job
    listed = await until_listed(http, "text=mine", 1)
    assert listed["jobs"][0]["id"] == job
    async with http.get(f"/api/v1/jobs/{job}") as shown:
        found = await shown.json()
    assert found["job"]["spec"]["resources"]["memory"] == 1 << 30
    assert found["job"]["spec"]["arguments"] == ["--x", "two words"]
    assert found["explanation"]["text"]


async def test_the_same_key_is_the_same_job(http: Session) -> None:
    first = await post(http, HELLO, key="one-click")
    again = await post(http, HELLO, key="one-click")
    assert (first[0], again[0]) == (201, 200)
    assert first[1]["job"]["id"] == again[1]["job"]["id"]
    await until_listed(http, "", 1)


async def test_a_stored_bundle_is_submitted_again_with_another_spec(http: Session) -> None:
    _, first = await post(http, HELLO)
    body = {"spec": {"name": "edited"}, "bundle": first["job"]["bundle"]}
    async with http.post("/api/v1/jobs", json=body) as answer:
        assert answer.status == 201
        assert (await answer.json())["job"]["bundle"] == first["job"]["bundle"]
    async with http.post("/api/v1/jobs", json={**body, "bundle": "00" * 32}) as answer:
        assert answer.status == 404
        assert (await answer.json(content_type=None))["code"] == "no_such_bundle"


async def test_a_masked_secret_has_to_be_known_or_given(http: Session) -> None:
    _, first = await post(http, HELLO, {"environment": {"HF_TOKEN": "hf_abcdef"}})
    assert first["job"]["spec"]["environment"] == {"HF_TOKEN": "•••"}
    spec = {"environment": {"HF_TOKEN": "•••"}}
    body = {"spec": spec, "bundle": first["job"]["bundle"]}
    async with http.post(f"/api/v1/jobs?like={first['job']['id']}", json=body) as answer:
        assert answer.status == 201
    async with http.post("/api/v1/jobs?like=nobody", json=body) as answer:
        assert answer.status == 404
    async with http.post("/api/v1/jobs", json=body) as answer:
        assert answer.status == 422
        assert "the value of HF_TOKEN is •••" in (await answer.json(content_type=None))["detail"]
    assert (await post(http, HELLO, spec))[0] == 422


async def test_a_queued_job_is_cancelled_and_repeated(http: Session) -> None:
    _, answer = await post(http, HELLO)
    job = answer["job"]["id"]
    async with http.post(f"/api/v1/jobs/{job}/cancel") as cancelled:
        assert (await cancelled.json())["job"]["state"] == "cancelled"
    async with http.post(f"/api/v1/jobs/{job}/cancel") as again:
        assert (await again.json())["job"]["state"] == "cancelled"
    async with http.post(f"/api/v1/jobs/{job}/retry") as repeated:
        assert repeated.status == 201
        assert (await repeated.json())["job"]["retry_of"] == job


async def test_a_sample_is_one_request(http: Session) -> None:
    async with http.get("/api/v1/samples") as answer:
        samples = (await answer.json())["samples"]
    assert [(sample["name"], sample["text"]) for sample in samples] == [("hello", "Says hello.")]
    async with http.post("/api/v1/samples/hello") as answer:
        assert answer.status == 201
        assert (await answer.json())["job"]["spec"]["name"] == "hello"
    async with http.post("/api/v1/samples/nothing") as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("zipped", "spec", "says"),
    [
        (b"this is no zip", {}, "zip"),
        (HELLO[:-40], {}, "zip"),
        (bundle(train__py="print(1)"), {}, "train.py"),
        (HELLO, {"entry": "train.py"}, "main.py"),
        (bundle(main__py="", requirements__txt="\0\1\2"), {}, "requirements.txt"),
    ],
    ids=["no zip", "truncated", "no entry", "wrong entry", "bad requirements"],
)
async def test_a_bad_bundle_gets_one_sentence_and_leaves_nothing(
    http: Session, bus: Bus, zipped: bytes, spec: dict[str, Any], says: str
) -> None:
    status, problem = await post(http, zipped, spec)
    assert status == 422
    assert says in problem["detail"]
    await until_listed(http, "", 0)
    left = await bus.api("STREAM.INFO.OBJ_uploads", {"subjects_filter": "$O.uploads.C.>"})
    assert not left["state"].get("subjects")


async def test_a_worker_that_nobody_knows_cannot_be_drained(http: Session) -> None:
    async with http.post("/api/v1/workers/nobody/drain", json={"drain": True}) as answer:
        assert answer.status == 404
    async with http.get("/api/v1/workers") as answer:
        assert (await answer.json())["workers"] == []
