"""NATS over TLS: whom do clients believe, and what survives a new certificate? A real server."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bus import authority, resolver, server
from bus.accounts import account_token
from bus.authority import CA, SERVER, open_authority, server_certificate
from bus.connection import Bus
from bus.errors import Denied, Unanswered
from bus.keyring import open_keyring
from bus.keys import USER, Key, credentials, write_private
from bus.link import BusConfig
from bus.server import EmbeddedServer, ServerConfig, find_binary, nats_server
from bus.server_tls import ServerTls, with_tls
from bus.tokens import user_token
from bus.trust import Untrusted

DAY = 86_400.0
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture
def tls(tmp_path: Path) -> ServerTls:
    shown = server_certificate(tmp_path / "keys", ["127.0.0.1"], time.time())
    return ServerTls(shown, shown, tmp_path / "keys" / CA)


@pytest.fixture
async def secure(tmp_path: Path, tls: ServerTls) -> AsyncIterator[EmbeddedServer]:
    config = ServerConfig(tmp_path / "nats", keys=tmp_path / "keys", tls=tls)
    async with nats_server(config) as running:
        yield running


def client(secure: EmbeddedServer, role: str = "admin") -> BusConfig:
    keys = secure.config.keys
    assert keys is not None
    made = BusConfig((secure.url,), role, credentials=str(keys / f"{role}.creds"))
    return with_tls(replace(made, connect_timeout=5.0), secure.config.tls)


async def refusal(config: BusConfig) -> str:
    with pytest.raises(Untrusted) as caught:
        async with Bus.connect(config):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_who_knows_the_authority_is_connected_by_tls(secure: EmbeddedServer) -> None:
    assert secure.url.startswith("tls://")
    async with Bus.connect(client(secure)) as bus:
        line = vars(bus.nc._transport)["_io_writer"].get_extra_info("ssl_object")
        assert line.version() == "TLSv1.3"
        assert (await bus.bulk()).is_connected
    # With an authority even a plain address means TLS.
    plain = secure.url.replace("tls://", "nats://")
    async with Bus.connect(replace(client(secure), servers=(plain,))):
        pass


async def test_another_authority_is_told(secure: EmbeddedServer, tmp_path: Path) -> None:
    open_authority(tmp_path / "other", time.time())
    told = await refusal(replace(client(secure), authority=str(tmp_path / "other" / CA)))
    assert "is not vouched for by" in told


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_without_an_authority_it_is_asked_for(secure: EmbeddedServer, scheme: str) -> None:
    servers = (secure.url.replace("tls://", f"{scheme}://"),)
    assert "--ca" in await refusal(replace(client(secure), authority=None, servers=servers))


async def test_another_name_is_told(secure: EmbeddedServer) -> None:
    assert "another name" in await refusal(replace(client(secure), tls_name="far.example"))


async def test_an_authority_of_somebody_else_is_asked_for_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authority, "OURS", "Somebody")
    shown = server_certificate(tmp_path / "given", ["localhost"], time.time())
    given = ServerTls(shown, shown, tmp_path / "given" / CA, "localhost")
    config = ServerConfig(tmp_path / "nats", tls=given)
    async with nats_server(config) as running:
        made = BusConfig((running.url,), connect_timeout=5.0, authority=str(given.authority))
        assert "another name" in await refusal(made)
        named = running.url.replace("127.0.0.1", "localhost")
        async with Bus.connect(replace(made, servers=(named,))):
            pass


@pytest.mark.parametrize(("age", "told"), [(398 * DAY, "run out"), (-DAY, "clocks")])
async def test_a_certificate_out_of_its_time_is_told(
    tmp_path: Path, tls: ServerTls, age: float, told: str
) -> None:
    made = open_authority(tmp_path / "keys", time.time())
    write_private(tls.certificate, made.issue(["127.0.0.1"], time.time() - age))
    config = ServerConfig(tmp_path / "nats", tls=tls)
    async with nats_server(config) as running:
        made_by = with_tls(BusConfig((running.url,), connect_timeout=5.0), tls)
        assert told in await refusal(made_by)


async def test_of_several_servers_another_one_is_believed(
    secure: EmbeddedServer, tmp_path: Path
) -> None:
    shown = server_certificate(tmp_path / "other", ["127.0.0.1"], time.time())
    other = ServerTls(shown, shown)
    async with nats_server(ServerConfig(tmp_path / "nats2", tls=other)) as stranger:
        servers = (stranger.url, secure.url)
        async with Bus.connect(replace(client(secure), servers=servers)) as bus:
            assert bus.connected
        only = replace(client(secure), servers=(stranger.url, stranger.url), connect_timeout=1.0)
        with pytest.raises(Unanswered, match="is not vouched for by"):
            async with Bus.connect(only):
                pass


@asynccontextmanager
async def in_between(heard: asyncio.Queue[bytes]) -> AsyncIterator[str]:
    """Greets as a server without TLS, and listens."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = {"server_id": "X", "version": "2.12.0", "max_payload": 1048576, "nonce": "abcd"}
        writer.write(b"INFO " + json.dumps({**told, "auth_required": True}).encode() + b"\r\n")
        heard.put_nowait(await reader.read(1 << 16))
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with listening:
        yield f"tls://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("authority", [True, False], ids=["pinned", "tls-address"])
async def test_nothing_is_said_to_who_claims_that_there_is_no_tls(
    secure: EmbeddedServer, authority: bool
) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    async with in_between(heard) as url:
        config = replace(client(secure), servers=(url,))
        told = await refusal(config if authority else replace(config, authority=None))
    assert "speaks without TLS" in told
    async with asyncio.timeout(5):
        assert await heard.get() == b""


async def test_a_new_certificate_leaves_connections_and_revocations(
    secure: EmbeddedServer, tmp_path: Path
) -> None:
    keyring = open_keyring(tmp_path / "keys")
    key, now = Key.new(USER), int(time.time())
    worker = tmp_path / "w.creds"
    issuer = keyring.issuer("worker")
    token = user_token(issuer, "w1", key.public, now - 5, tags=["pool:p"], life=3600)
    write_private(worker, credentials(token, key))
    thrown_out = account_token(
        keyring.fleet_claims({key.public: now + 1}), keyring.key("operator"), now + 2
    )
    async with Bus.connect(client(secure)) as bus:
        client_id = bus.nc.client_id
        async with Bus.connect(client(secure, "resolver")) as system:
            await resolver.update(system, thrown_out)
        made = open_authority(tmp_path / "keys", time.time())
        write_private(tmp_path / "keys" / SERVER, made.issue(["127.0.0.1"], time.time()))
        secure.reload()
        await until_logged(secure, "Reloaded server configuration")
        await bus.flush()
        assert bus.nc.client_id == client_id
    with pytest.raises(Denied):
        async with Bus.connect(replace(client(secure), credentials=str(worker))):
            pass


async def test_the_embedded_server_takes_a_file_that_was_written_anew(
    tmp_path: Path, tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOOK_EVERY", 0.05)
    async with nats_server(ServerConfig(tmp_path / "nats", tls=tls)) as running:
        pid = running.pid
        made = open_authority(tmp_path / "keys", time.time())
        write_private(tls.certificate, made.issue(["127.0.0.1"], time.time()))
        await until_logged(running, "Reloaded: tls")
        assert running.pid == pid
        await running.restart()  # on the same certificate, by the same address
        async with Bus.connect(with_tls(BusConfig((running.url,)), tls)):
            pass


async def until_logged(running: EmbeddedServer, words: str) -> None:
    async with asyncio.timeout(20):
        while words not in (running.config.data / "nats-server.log").read_text():  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.02)


def test_the_configuration_for_a_server_of_ones_own_is_valid(tmp_path: Path) -> None:
    shown = server_certificate(tmp_path, ["nats"], time.time())
    for name in ("nats.conf", "identities.conf", "tls.conf"):
        text = (
            (DEPLOY / name).read_text().replace("/etc/stoker/certificates/server.pem", str(shown))
        )
        (tmp_path / name).write_text(re.sub(r'"/var/lib/nats"', f'"{tmp_path}"', text))
    (tmp_path / "accounts.conf").write_text("")
    command = [str(find_binary(ServerConfig(tmp_path))), "-t", "-c", str(tmp_path / "tls.conf")]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
