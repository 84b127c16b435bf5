"""``stoker up`` beyond this machine: TLS everywhere, with nothing to set up."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bus.authority import CA, SERVER, open_authority
from bus.connection import Bus
from bus.joining import JoinToken, packed_authority
from bus.link import BusConfig
from bus.trust import Untrusted
from stoker import config, exits, trust
from stoker.client import Client
from tests.plugins.running import ROOT, Up, running_up

PATIENCE = 30.0
BEYOND = ("--runtime", "dummy", "--host", "0.0.0.0", "--nats-host", "0.0.0.0")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("tls"), *BEYOND) as running:
        yield running


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def elsewhere(folder: Path) -> dict[str, str]:
    """As on another machine: nothing is known of the data folder."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "STOKER_DATA": str(folder / "none"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }


def stoker(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stoker", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=elsewhere(folder),
        check=False,
    )  # fmt: skip


@contextmanager
def agent(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "stoker", "agent", "--runtime", "dummy"]
    process = subprocess.Popen(
        [*command, "--work", str(folder / "agent"), *words], cwd=ROOT, env=elsewhere(folder),
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def workers(up: Up) -> set[str]:
    return {worker.name for worker in up.client.workers() if worker.raw["online"]}


def token_of(up: Up, name: str, *words: str) -> str:
    run = up.stoker("worker", "invite", name, *words)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()[3]


def test_page_and_bus_speak_tls_and_a_job_runs(up: Up, tmp_path: Path) -> None:
    assert up.url.startswith("https://")
    assert up.nats.startswith("tls://")
    (tmp_path / "main.py").write_text("print(1)\n")
    run = up.stoker("submit", str(tmp_path), "--follow")
    assert run.returncode == 0, run.stderr
    checks = {one["name"]: one["state"] for one in json.loads(up.stoker("doctor", "--json").stdout)}
    assert checks["tls"] == checks["certificate"] == checks["store"] == "PASS"
    assert checks["server"] == "PASS"


def test_a_machine_joins_over_tls_by_the_printed_line_alone(up: Up, tmp_path: Path) -> None:
    token = token_of(up, "ant")
    servers = JoinToken.read(token).servers
    assert all(one.startswith("tls://") for one in servers)
    assert not any("127.0.0.1" in one for one in servers)
    with agent(tmp_path, "--join", token):
        until(lambda: "ant" in workers(up))
    pinned = (tmp_path / "agent" / "identity" / "ca.pem").read_bytes()
    assert pinned == (up.data / config.KEYS / CA).read_bytes()
    with agent(tmp_path):  # it knows whom it believes
        until(lambda: "ant" in workers(up))


def test_a_line_with_another_authority_joins_nobody(up: Up, tmp_path: Path) -> None:
    open_authority(tmp_path / "other", time.time())
    token = JoinToken.read(token_of(up, "bee"))
    other = JoinToken(
        token.servers, token.token, token.worker, token.pool,
        packed_authority(tmp_path / "other" / CA),
    )  # fmt: skip
    run = stoker(
        tmp_path, "agent", "--runtime", "dummy", "--join", str(other), "--work", str(tmp_path)
    )
    assert run.returncode == exits.TROUBLE
    assert "is not vouched for by" in run.stderr
    assert "invitation" in run.stderr


def test_an_agent_that_pinned_an_authority_never_speaks_plainly(up: Up, tmp_path: Path) -> None:
    with running_up(tmp_path / "plain", "--runtime", "dummy") as plain:
        token = JoinToken.read(token_of(up, "cat"))
        led = JoinToken((plain.nats,), token.token, token.worker, token.pool, token.authority)
        run = stoker(
            tmp_path, "agent", "--runtime", "dummy", "--join", str(led), "--work", str(tmp_path)
        )
    assert run.returncode == exits.TROUBLE
    assert "speaks without TLS" in run.stderr


async def test_who_knows_no_authority_is_told_to_name_it(up: Up) -> None:
    with pytest.raises(Untrusted, match=r"nobody whom this machine trusts .* --ca"):
        async with Bus.connect(BusConfig((up.nats,))):
            pass


def test_the_command_on_another_machine_names_the_authority(up: Up, tmp_path: Path) -> None:
    run = stoker(tmp_path, "jobs", "--server", up.url)
    assert run.returncode == exits.TROUBLE
    assert "name its authority with --ca" in run.stderr
    known = str(up.data / config.KEYS / CA)
    for words in (("jobs", "--ca", known), ("--ca", known, "jobs")):
        run = stoker(tmp_path, *words, "--server", up.url)
        assert "sign" in run.stderr or run.returncode == 0, run.stderr
        assert "authority" not in run.stderr


def test_a_service_of_its_own_reaches_the_embedded_server(up: Up, tmp_path: Path) -> None:
    keys = up.data / config.KEYS
    words = ["serve", "ui", "--port", "0", "--nats", up.nats]
    words += ["--credentials", str(keys / "ui.creds")]
    assert "--ca" in stoker(tmp_path, *words).stderr
    command = [sys.executable, "-m", "stoker", *words, "--ca", str(keys / CA)]
    with subprocess.Popen(
        command, cwd=ROOT, env=elsewhere(tmp_path), text=True, stderr=subprocess.PIPE
    ) as service:
        assert service.stderr is not None
        try:
            assert any("the page is at" in line for line in iter(service.stderr.readline, ""))
        finally:
            service.terminate()


def test_who_thinks_that_the_page_is_plain_is_told(up: Up, tmp_path: Path) -> None:
    run = stoker(tmp_path, "jobs", "--server", up.url.replace("https", "http"))
    assert run.returncode == exits.TROUBLE
    assert "this port speaks HTTPS alone: write https://127.0.0.1" in run.stderr


def test_the_terminal_says_how_to_come_from_elsewhere(up: Up) -> None:
    told = up.told()
    assert trust.fingerprint_of(up.data / config.KEYS / CA) in told
    assert "Careful" not in told


async def test_a_renewed_certificate_is_taken_by_the_bus_without_a_restart(up: Up) -> None:
    keys = up.data / config.KEYS
    before, pid = await shown_by(up.nats), (up.data / "nats.pid").read_text()
    (keys / SERVER).write_text(open_authority(keys, time.time()).issue(["127.0.0.1"], time.time()))
    async with asyncio.timeout(60):
        while await shown_by(up.nats) == before:  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.2)
    assert (up.data / "nats.pid").read_text() == pid
    assert await asyncio.to_thread(lambda: Client(up.url).url) == up.url


async def shown_by(nats: str) -> bytes:
    """The certificate that NATS shows: it takes a handshake before its greeting, too."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = int(nats.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


def test_plain_text_beyond_this_machine_is_told_aloud(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", *BEYOND, "--plain-http", "--plain-nats") as plain:
        assert plain.url.startswith("http://")
        assert plain.nats.startswith("nats://")
        assert plain.told().count("Careful") == 2
        found = json.loads(plain.stoker("doctor", "--json").stdout)
        assert next(one for one in found if one["name"] == "tls")["state"] == "FAIL"
        run = plain.stoker("worker", "invite", "dog")
        assert "without TLS" in run.stderr


def test_on_this_machine_alone_nothing_is_made(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", "--runtime", "dummy") as running:
        assert running.url.startswith("http://127.0.0.1")
        assert not (tmp_path / "data" / config.KEYS / CA).exists()


def test_given_certificates_are_shown_by_page_and_bus(tmp_path: Path) -> None:
    given = open_authority(tmp_path / "given", time.time())
    shown, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    both = given.issue(["far.example"], time.time())
    at = both.index("-----BEGIN PRIVATE KEY")
    shown.write_text(both[:at])
    key.write_text(both[at:])
    words = ("--tls-cert", str(shown), "--tls-key", str(key), "--nats-tls-cert", str(shown))
    words += ("--nats-tls-key", str(key), "--nats-tls-ca", str(tmp_path / "given" / CA))
    with running_up(tmp_path / "data", "--runtime", "dummy", *words) as running:
        assert running.url.startswith("https://")
        assert running.nats.startswith("tls://")
        with agent(tmp_path, "--join", token_of(running, "eel")):
            until(lambda: "eel" in workers(running))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tls-cert", "{none}"], "none.pem cannot be read"),
        (["--tls-key", "{none}"], "--tls-key needs --tls-cert"),
        (["--behind-proxy", "10.0.0.1/8"], "--behind-proxy 10.0.0.1/8"),
        (["--nats-tls-cert", "{ca}"], "ca.pem cannot be shown"),
    ],
    ids=["no-file", "key-alone", "network", "no-key"],
)
def test_what_cannot_be_shown_is_told_before_anything_starts(
    tmp_path: Path, words: list[str], told: str
) -> None:
    open_authority(tmp_path, time.time())
    places = {"none": str(tmp_path / "none.pem"), "ca": str(tmp_path / CA)}
    data = str(tmp_path / "data")
    run = stoker(
        tmp_path, "up", "--data", data, "--port", "0", *(word.format(**places) for word in words)
    )
    assert run.returncode == exits.TROUBLE
    assert told in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_page_by_itself_wants_a_certificate_or_a_folder(tmp_path: Path, up: Up) -> None:
    keys = up.data / config.KEYS
    run = stoker(
        tmp_path, "serve", "ui", "--host", "0.0.0.0", "--port", "0", "--nats", up.nats,
        "--credentials", str(keys / "ui.creds"), "--ca", str(keys / CA),
    )  # fmt: skip
    assert run.returncode == exits.TROUBLE
    assert "--tls-cert" in run.stderr
    assert "--plain-http" in run.stderr
