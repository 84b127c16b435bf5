"""Whom does the client believe over HTTPS? A real server, certificates of all kinds."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from bus import authority
from bus.authority import CA, Authority, open_authority, server_certificate
from bus.connection import Bus
from bus.keys import write_private
from stoker import config
from stoker.answers import Refused, StokerError
from stoker.client import Client
from stoker.following import follow
from stoker.trust import (
    Untrusted,
    fetch_authority,
    fingerprint_of,
    keep_authority,
    trust_for,
)
from ui.app import serving
from ui.config import UiConfig

JOB = "0d4k8q2m-7xv3"
DAY = 86_400.0
Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STOKER_CA", "STOKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STOKER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "data" / "identities"


@pytest.fixture
def serve(bus: Bus, keys: Path) -> Serve:
    @asynccontextmanager
    async def serving_with(shown: Path | None = None) -> AsyncIterator[str]:
        made = shown or server_certificate(keys, ["127.0.0.1"], time.time())
        async with serving(bus, UiConfig(port=0, certificate=made)) as url:
            yield url

    return serving_with


async def workers(url: str, ca: Path | None = None) -> int:
    return len(await asyncio.to_thread(Client(url, ca=ca).workers))


async def refusal(url: str, ca: Path | None = None) -> str:
    with pytest.raises(Untrusted) as caught:
        await workers(url, ca)
    with pytest.raises(Untrusted):
        async for _ in follow(url, JOB, ca=ca):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_the_authority_that_is_named_is_believed(
    serve: Serve, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as url:
        assert await workers(url, keys / CA) == 0
        with pytest.raises(Refused):
            async for _ in follow(url, JOB, ca=keys / CA):
                pass
        monkeypatch.setenv("STOKER_CA", str(keys / CA))
        assert await workers(url) == 0
        # Our own authority signs the fixed name: the address may be any.
        assert await workers(url.replace("127.0.0.1", "localhost")) == 0


async def test_what_login_kept_is_believed_for_that_address_alone(serve: Serve) -> None:
    async with serve() as url, serve() as other:
        assert "--ca" in await refusal(url)
        own = fingerprint_of(Path(os.environ["STOKER_DATA"]) / "identities" / CA)
        keep_authority(url, await asyncio.to_thread(fetch_authority, url, own))
        assert await workers(url) == 0
        assert "--ca" in await refusal(other)


async def test_a_server_without_the_expected_authority_is_not_believed(serve: Serve) -> None:
    async with serve() as url:
        with pytest.raises(Untrusted, match="do not use this server"):
            await asyncio.to_thread(fetch_authority, url, "sha256:" + "ab" * 32)
        with pytest.raises(StokerError, match="64 hexadecimal digits"):
            await asyncio.to_thread(fetch_authority, url, "ab:cd")


@pytest.mark.parametrize("given", [False, True], ids=["our-own", "given"])
async def test_a_running_up_of_this_machine_is_believed_by_what_it_shows(
    serve: Serve, keys: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    if given:
        monkeypatch.setattr(authority, "OURS", "Somebody")
    shown = server_certificate(keys, ["far.example"], time.time())
    data = keys.parent
    async with serve(shown) as url:
        config.write_address(data, config.Address(url, "", os.getpid(), str(shown)))
        assert await workers(url.replace("127.0.0.1", "localhost")) == 0
        assert Client().url == url
        (data / config.ADDRESS_FILE).unlink()
        await refusal(url)


async def test_another_authority_is_told(serve: Serve, tmp_path: Path) -> None:
    open_authority(tmp_path / "other", time.time())
    async with serve() as url:
        assert "vouches for" in await refusal(url, tmp_path / "other" / CA)


async def test_another_name_is_told(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "OURS", "Somebody")
    shown = server_certificate(tmp_path / "given", ["far.example"], time.time())
    async with serve(shown) as url:
        assert "another name" in await refusal(url, tmp_path / "given" / CA)


@pytest.mark.parametrize(("age", "told"), [(398 * DAY, "run out"), (-DAY, "clocks")])
async def test_a_certificate_out_of_its_time_is_told(
    serve: Serve, tmp_path: Path, age: float, told: str
) -> None:
    made = Authority.new(time.time() - 500 * DAY)
    (tmp_path / "ca.pem").write_text(authority.text_of(made.certificate))
    write_private(tmp_path / "old.pem", made.issue(["127.0.0.1"], time.time() - age))
    async with serve(tmp_path / "old.pem") as url:
        assert told in await refusal(url, tmp_path / "ca.pem")


async def test_https_to_a_plain_server_is_told(bus: Bus, keys: Path) -> None:
    async with serving(bus, UiConfig(port=0)) as url:
        assert f"is it {url}?" in await refusal(url.replace("http", "https"))


async def test_plain_http_to_https_is_told(serve: Serve) -> None:
    async with serve() as url:
        with pytest.raises(Refused, match=f"write {url}") as caught:
            await workers(url.replace("https", "http"))
        assert caught.value.code == "https_only"


@pytest.mark.parametrize(
    ("text", "told"), [(None, "cannot be read"), ("x", "holds no certificate")]
)
def test_a_ca_that_is_none_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Untrusted, match=told):
        trust_for("https://page.example", path)
    assert trust_for("http://page.example", path) is None
