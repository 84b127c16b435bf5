"""Does the server say no in one clear sentence, and let nobody in who should not be?"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bus.connection import Bus
from bus.records import Records
from schemas.job import Entry, Fact, Record, State
from schemas.spec import JobSpec
from ui.app import serving
from ui.config import UiConfig

UNKNOWN = "0d4k8q2m-7xv3"
Session = aiohttp.ClientSession


@pytest.fixture
async def http(bus: Bus) -> AsyncIterator[Session]:
    config = UiConfig(port=0, hosts=("stoker.example",), upload_limit=1 << 20, request_timeout=0.2)
    async with serving(bus, config) as address, Session(address) as session:
        yield session


def record(job: str = UNKNOWN, state: State = State.WAITING) -> Record:
    return Record(
        id=job,
        owner="local",
        spec=JobSpec(name="a job"),
        bundle="ab" * 32,
        state=state,
        submitted_at=1000.0,
        changed_at=1000.0,
        timeline=(Entry(fact=Fact.SUBMITTED, at=1000.0),),
    )


async def problem(answer: aiohttp.ClientResponse, status: int, code: str) -> dict[str, object]:
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    body: dict[str, object] = json.loads(await answer.text())
    assert body["code"] == code
    assert "Traceback" not in str(body)
    return body


@pytest.mark.parametrize("path", ["", "/log", "/log/ws"])
@pytest.mark.parametrize("job", [UNKNOWN, "not-an-id", "a%2Ab", "stoker.job.>"])
async def test_an_unknown_job_is_told_as_such(http: Session, path: str, job: str) -> None:
    url = f"/api/v1/jobs/{job}{path}"
    async with http.get(url) as answer:
        body = await problem(answer, 404, "unknown_job")
        assert "There is no job" in str(body["detail"])


async def test_the_handshake_for_an_unknown_job_is_refused(http: Session) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await http.ws_connect(f"/api/v1/jobs/{UNKNOWN}/log/ws")
    assert refusal.value.status == 404


async def test_an_unknown_address_is_a_problem(http: Session) -> None:
    async with http.get("/api/v1/nothing") as answer:
        await problem(answer, 404, "not_found")
    async with http.delete("/api/v1/jobs") as answer:
        await problem(answer, 405, "method_not_allowed")
        assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "stoker.example"}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8900"}, 200),
        ({"Host": ""}, 421),
    ],
)
async def test_only_known_hosts_are_served(
    http: Session, headers: dict[str, str], status: int
) -> None:
    async with http.get("/healthz", headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_another_sites_page_may_change_nothing(
    http: Session, headers: dict[str, str]
) -> None:
    async with http.post(f"/api/v1/jobs/{UNKNOWN}/cancel", headers=headers) as answer:
        await problem(answer, 403, "foreign_origin")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await http.ws_connect("/api/v1/events/ws", headers=headers)
    assert refusal.value.status == 403


async def test_pages_forbid_inline_scripts_and_frames(http: Session) -> None:
    for path in ("/", "/workers", "/api", f"/jobs/{UNKNOWN}"):
        async with http.get(path) as answer:
            text = await answer.text()
            policy = answer.headers["Content-Security-Policy"]
        assert answer.status == 200
        assert "script-src 'self';" in policy
        assert "default-src 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Server"] == "Stoker"
        assert "<script>" not in text
        assert "style=" not in text
        assert not re.search(r"""(?:src|href|action|data)\s*=\s*["']?(?:https?:)?//""", text)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"entry": "../main.py"}, "must be a path inside the bundle"),
        ({"memmory": 1}, "there is no such field"),
        ({"resources": {"cpus": 0}}, "resources.cpus"),
        ({"resources": {"memory": "-1"}}, "is not a size"),
        ({"timeout": 0}, "timeout"),
        ({"arguments": ["x" * 1_000_000]}, "large"),
        ({"arguments": ["x" * 40_000]}, "at most 32768"),
        ([], "spec"),
    ],
)
async def test_a_bad_spec_gets_one_sentence(http: Session, spec: object, says: str) -> None:
    body = {"spec": spec, "bundle": "ab" * 32}
    async with http.post("/api/v1/jobs", json=body) as answer:
        assert answer.status in (413, 422)
        found = await answer.json(content_type="application/problem+json")
    assert says in f"{found['title']} {found['detail']}"


async def test_a_bad_spec_is_told_before_the_bundle_is_stored(http: Session) -> None:
    form = aiohttp.FormData()
    form.add_field("spec", json.dumps({"priority": 1000}), content_type="application/json")
    form.add_field("bundle", b"x" * 1000, filename="a.zip")
    async with http.post("/api/v1/jobs", data=form) as answer:
        body = await problem(answer, 422, "invalid_spec")
    assert body["field"] == "priority"


async def test_a_bundle_over_the_limit_is_refused_at_once(http: Session) -> None:
    form = aiohttp.FormData()
    form.add_field("bundle", b"x" * (3 << 20), filename="a.zip")
    async with http.post("/api/v1/jobs", data=form) as answer:
        body = await problem(answer, 413, "bundle_too_large")
    assert "1 MiB" in str(body["detail"])


async def test_a_form_without_a_bundle_says_so(http: Session) -> None:
    form = aiohttp.FormData()
    form.add_field("spec", "{}", content_type="application/json")
    form.add_field("other", "1")
    async with http.post("/api/v1/jobs", data=form) as answer:
        await problem(answer, 422, "bad_form")
    async with http.post("/api/v1/jobs", data=b"PK", headers={"Content-Type": "a/b"}) as answer:
        await problem(answer, 415, "unsupported_body")


@pytest.mark.parametrize(
    "header",
    [b'Content-Disposition: form-data; name="\x08"', b"no header", b"X: " + b"a" * 20_000],
    ids=["control character", "no colon", "long"],
)
async def test_a_part_whose_headers_cannot_be_read_is_a_bad_form(
    http: Session, header: bytes
) -> None:
    body = b"--x\r\n" + header + b"\r\n\r\nnull\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    async with http.post("/api/v1/jobs", data=body, headers=headers) as answer:
        await problem(answer, 422, "bad_form")


@pytest.mark.parametrize("key", ["", "a b", "x" * 65, "a.b", "a*"])
async def test_a_bad_idempotency_key_is_refused(http: Session, key: str) -> None:
    body = {"spec": {}, "bundle": "ab" * 32}
    headers = {"Idempotency-Key": key}
    async with http.post("/api/v1/jobs", json=body, headers=headers) as answer:
        await problem(answer, 422, "bad_key")


async def test_a_service_that_is_away_is_a_503(http: Session) -> None:
    async with http.get("/api/v1/jobs") as answer:
        await problem(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "state=lost", "before=x"])
async def test_a_bad_query_is_refused(http: Session, query: str) -> None:
    async with http.get(f"/api/v1/jobs?{query}") as answer:
        await problem(answer, 422, "bad_query")


async def test_a_job_is_shown_without_the_secrets_of_its_grant(http: Session, bus: Bus) -> None:
    await Records(bus).write(record(), Fact.SUBMITTED, 0)
    async with http.get(f"/api/v1/jobs/{UNKNOWN}") as answer:
        text = await answer.text()
    assert answer.status == 200
    assert json.loads(text)["job"]["spec"]["name"] == "a job"
    assert "nonce" not in text
    assert "claim" not in text


async def test_a_bad_cursor_is_refused(http: Session, bus: Bus) -> None:
    await Records(bus).write(record(), Fact.SUBMITTED, 0)
    for cursor in ("x", "1.2", "-1.0.0", f"1.0.{1 << 63}"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await http.ws_connect(f"/api/v1/jobs/{UNKNOWN}/log/ws?after={cursor}")
        assert refusal.value.status == 422


async def test_health_and_metrics(http: Session) -> None:
    async with http.get("/healthz") as answer:
        assert answer.status == 200
    async with http.get("/readyz") as answer:
        assert answer.status == 200
    async with http.get("/metrics") as answer:
        text = await answer.text()
    assert "stoker_bus_connected 1" in text
    assert 'stoker_build_info{version="' in text


async def test_the_list_is_told_of_a_new_job(http: Session, bus: Bus) -> None:
    async with http.ws_connect("/api/v1/events/ws") as ws:
        assert (await ws.receive_json(timeout=5))["type"] == "hello"
        await Records(bus).write(record(), Fact.SUBMITTED, 0)
        frame = await ws.receive_json(timeout=5)
    assert frame["type"] == "jobs"
    assert [job["id"] for job in frame["jobs"]] == [UNKNOWN]


async def test_the_server_stops_though_viewers_are_there(bus: Bus) -> None:
    async with Session() as session:
        async with serving(bus, UiConfig(port=0)) as address:
            ws = await session.ws_connect(f"{address}/api/v1/events/ws")
            await ws.receive_json(timeout=5)
        message = await ws.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == aiohttp.WSCloseCode.GOING_AWAY


async def test_of_bytes_that_are_no_request_the_log_shows_nothing(
    http: Session, caplog: pytest.LogCaptureFixture
) -> None:
    url = http._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"GET / HTTP/1.1\r\nContent-Length:\r\nAuthorization: Bearer stk_secret\r\n\r\n")
    answer = await reader.read(4096)
    writer.close()
    assert b" 400 " in answer
    assert "no HTTP request" in caplog.text
    assert "stk_secret" not in caplog.text
    assert "Traceback" not in caplog.text
