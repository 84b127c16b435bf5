"""A NATS that somebody runs himself learns who may do what from one file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bus.accounts import account_token
from bus.connection import Bus
from bus.errors import Denied
from bus.keyring import open_keyring, revocations
from bus.kv import Bucket
from bus.layout import STREAMS
from bus.link import BusConfig
from bus.resolver import stored_token, update
from bus.server import ServerConfig, find_binary
from tests.plugins.running import ROOT

DEPLOY = ROOT / "deploy"
PATIENCE = 60.0
STOKER = (sys.executable, "-m", "stoker")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def stoker(*arguments: str) -> str:
    done = subprocess.run(
        [*STOKER, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=PATIENCE, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with keys and the files of ``deploy/``, on any free port."""
    stoker("nats-accounts", str(tmp_path), "--resolver", str(tmp_path / "accounts"))
    text = (DEPLOY / "nats.conf").read_text()
    text = text.replace("0.0.0.0:4222", "127.0.0.1:-1").replace(
        "/var/lib/nats", f"{tmp_path}/store"
    )
    (tmp_path / "nats.conf").write_text(f'{text}\nports_file_dir: "{tmp_path}"\n')
    (tmp_path / "identities.conf").write_text((DEPLOY / "identities.conf").read_text())
    return tmp_path


@contextlib.asynccontextmanager
async def serving(own: Path) -> AsyncIterator[str]:
    binary = str(find_binary(ServerConfig(own)))
    with running(own / "nats.log", binary, "-c", str(own / "identities.conf")) as process:
        ports = own / f"nats-server_{process.pid}.ports"
        async with asyncio.timeout(PATIENCE):
            while not ports.exists() or not ports.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield str(json.loads(ports.read_text())["nats"][0])


@contextlib.contextmanager
def running(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def part(own: Path, url: str, name: str, *flags: str) -> contextlib.AbstractContextManager[object]:
    known = ("--nats", url, "--credentials", str(own / f"{name}.creds"))
    return running(own / f"{name}.log", *STOKER, "serve", name, *known, *flags)


async def test_services_and_an_invited_worker_find_each_other(own: Path) -> None:
    async with serving(own) as url:
        admin = ("--nats", url, "--credentials", str(own / "admin.creds"))
        with part(own, url, "scheduler"), part(own, url, "identity", "--keys", str(own)):
            config = BusConfig((url,), credentials=admin[3])
            async with Bus.connect(config) as bus, asyncio.timeout(PATIENCE):
                while not await served(bus):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                line = await asyncio.to_thread(stoker, "worker", "invite", "ant", *admin)
                flags = (*line.split()[2:], "--runtime", "dummy", "--work", str(own / "ant"))
                with running(own / "ant.log", *STOKER, "agent", *flags):
                    while await Bucket(bus, "workers").get("ant") is None:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
        assert "Violation" not in (own / "nats.log").read_text()


async def served(bus: Bus) -> bool:
    """Whether somebody has made the streams."""
    names = (await bus.api("STREAM.NAMES")).get("streams") or ()
    return len(names) >= len(STREAMS)


async def test_lines_from_before_a_revocation_do_not_undo_it(own: Path) -> None:
    """The file in the server's configuration stays as it was written."""
    keyring = open_keyring(own)
    resolver = str(own / "resolver.creds")
    async with serving(own) as url, Bus.connect(BusConfig((url,), credentials=resolver)) as bus:
        claims = keyring.fleet_claims({"UGONE": 1_900_000_000})
        await update(bus, account_token(claims, keyring.key("operator"), 1_900_000_000))
    for _ in range(2):
        async with serving(own) as url, Bus.connect(BusConfig((url,), credentials=resolver)) as bus:
            known = await stored_token(bus, keyring.fleet)
            assert revocations(known) == {"UGONE": 1_900_000_000}
        stoker("nats-accounts", str(own), "--resolver", str(own / "accounts"))


async def test_nobody_comes_in_without_credentials(own: Path) -> None:
    async with serving(own) as url:
        with pytest.raises(Denied):
            async with Bus.connect(BusConfig((url,))):
                pass


def test_the_permissions_can_be_printed() -> None:
    assert "| **worker** |" in stoker("nats-accounts", "--permissions")
