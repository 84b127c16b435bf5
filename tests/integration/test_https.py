"""The page over HTTPS: real connections to a real server, with certificates of our own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bus import certificates
from bus.authority import CA, SERVER, server_certificate
from bus.certificates import CertificateError, Shown, keep_renewed
from bus.connection import Bus
from bus.trust import trust
from ui import site
from ui.app import serving
from ui.config import UiConfig
from ui.security import HEADERS, HTTPS_ONLY, POLICY

NAMES = ("127.0.0.1", "page.example")


@pytest.fixture
async def address(bus: Bus, tmp_path: Path) -> AsyncIterator[str]:
    shown = server_certificate(tmp_path, NAMES, time.time())
    config = UiConfig(port=0, certificate=shown, hosts=("page.example",))
    async with serving(bus, config) as url:
        yield url


@pytest.fixture
async def http(address: str, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=trust(str(tmp_path / CA)).context)
    async with aiohttp.ClientSession(address, connector=connector) as session:
        yield session


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


async def said(address: str, text: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(address))
    writer.write(text.encode())
    await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()
    writer.close()
    return answer


async def certificate_of(address: str) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(address), ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


async def test_the_page_and_its_sockets_come_over_https(http: aiohttp.ClientSession) -> None:
    async with http.get("/healthz") as answer:
        assert answer.status == 200
    async with http.ws_connect("/api/v1/events/ws") as ws:
        assert await ws.receive_json(timeout=10)


async def test_every_answer_forbids_the_browser_what_it_does_not_need(
    http: aiohttp.ClientSession,
) -> None:
    for path in ("/", "/healthz", "/api/v1/jobs", "/nowhere"):
        async with http.get(path, headers={"Host": "page.example"}) as answer:
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, path
            policy = answer.headers["Content-Security-Policy"]
            assert "'unsafe" not in policy
            assert all(f"{name} {value}" in policy for name, value in POLICY.items())
            assert answer.headers["Strict-Transport-Security"] == HTTPS_ONLY


async def test_a_browser_is_not_bound_to_https_on_its_own_machine_or_by_plain_http(
    http: aiohttp.ClientSession, bus: Bus
) -> None:
    async with http.get("/healthz") as answer:
        assert "Strict-Transport-Security" not in answer.headers
    plain = UiConfig(port=0, hosts=("page.example",))
    async with (
        serving(bus, plain) as url,
        aiohttp.ClientSession(url, headers={"Host": "page.example"}) as session,
        session.get("/healthz") as answer,
    ):
        assert "Strict-Transport-Security" not in answer.headers


async def test_the_plain_page_of_the_same_name_is_a_stranger(http: aiohttp.ClientSession) -> None:
    for scheme, status in (("https", 404), ("http", 403)):
        headers = {"Host": "page.example", "Origin": f"{scheme}://page.example"}
        async with http.post("/api/v1/jobs/0d4k8q2m-7xv3/cancel", headers=headers) as answer:
            assert answer.status == status


async def test_who_does_not_trust_the_authority_refuses(address: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{address}/healthz")


async def test_a_browser_that_came_by_plain_http_is_led_to_https(address: str) -> None:
    host = address.removeprefix("https://")
    head = f"GET /jobs/x?a=1 HTTP/1.1\r\nHost: {host}\r\nAccept: text/html,*/*\r\n\r\n"
    answer = await said(address, head)
    assert answer.startswith("HTTP/1.1 307 ")
    assert f"\r\nLocation: {address}/jobs/x?a=1\r\n" in answer


@pytest.mark.parametrize(
    "head",
    [
        "POST /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc",
        "POST /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\n\r\n" + "x" * (4 << 20),
        "GET /api/v1/jobs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer x\r\n\r\n",
        "GET / HTTP/1.1\r\nAccept: text/html\r\n\r\n",
        "GET //evil\r\nSet-Cookie:a HTTP/1.1\r\nHost: a b\r\nAccept: text/html\r\n\r\n",
        "GET http://evil/ HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n",
        "NONSENSE\r\n\r\n",
    ],
    ids=["post", "big-post", "token", "no-host", "bad-host", "absolute", "nonsense"],
)
async def test_a_program_that_came_by_plain_http_is_told_so(address: str, head: str) -> None:
    answer = await said(address, head.format(host=address.removeprefix("https://")))
    assert answer.startswith("HTTP/1.1 400 ")
    assert "this port speaks HTTPS alone" in answer
    assert "Location" not in answer
    assert "Set-Cookie" not in answer


async def test_who_says_nothing_or_too_much_holds_nobody_up(
    address: str, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "GREETING_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port_of(address))) as silent:
        async with http.get("/healthz") as answer:
            assert answer.status == 200
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().run_in_executor(None, silent.recv, 1) == b""
    for noise in ("GET /" + "x" * (1 << 17), "\x16not a handshake"):
        with contextlib.suppress(ConnectionError):
            assert "200" not in await said(address, noise)
    async with http.get("/healthz") as answer:
        assert answer.status == 200


async def test_a_new_certificate_is_shown_without_a_restart(bus: Bus, tmp_path: Path) -> None:
    path = server_certificate(tmp_path, NAMES, time.time())
    shown = Shown(path)
    assert not shown.refresh()
    before = shown.context
    late = time.time() + 300 * 86_400
    server_certificate(tmp_path, NAMES, late)
    assert shown.refresh()
    assert shown.context is before
    assert not shown.refresh()


async def test_who_connects_after_a_renewal_sees_it(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(certificates, "RENEW_EVERY", 0.05)
    config = UiConfig(port=0, certificate=server_certificate(tmp_path, NAMES, time.time()))
    connector = aiohttp.TCPConnector(ssl=trust(str(tmp_path / CA)).context)
    async with (
        serving(bus, config) as address,
        aiohttp.ClientSession(address, connector=connector) as session,
        session.ws_connect("/api/v1/events/ws") as ws,
    ):
        before = await certificate_of(address)
        late = time.time() + 300 * 86_400
        keep = asyncio.create_task(keep_renewed(tmp_path, lambda: NAMES, lambda: late))
        async with asyncio.timeout(20):
            while await certificate_of(address) == before:  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.05)
        keep.cancel()
        assert not ws.closed


async def test_a_new_certificate_that_is_no_good_changes_nothing(tmp_path: Path) -> None:
    path = server_certificate(tmp_path, NAMES, time.time())
    shown = Shown(path)
    path.write_text("nonsense")
    assert not shown.refresh()
    server_certificate(tmp_path, NAMES, time.time())
    assert shown.refresh()


@pytest.mark.parametrize("what", ["missing", "nonsense", "no-key", "other-key"])
def test_a_certificate_that_cannot_be_shown_is_told_by_name(tmp_path: Path, what: str) -> None:
    path, key = tmp_path / "cert.pem", None
    server_certificate(tmp_path, NAMES, time.time())
    match what:
        case "nonsense":
            path.write_text("nonsense")
        case "no-key":
            path.write_bytes((tmp_path / CA).read_bytes())
        case "other-key":
            path.write_bytes((tmp_path / CA).read_bytes())
            key = tmp_path / SERVER
    with pytest.raises(CertificateError, match=r"cert\.pem.* cannot be (read|shown)"):
        Shown(path, key)
