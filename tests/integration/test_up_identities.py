"""``stoker up`` asks everybody on its bus who he is, with nothing to set up."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.errors import Denied
from bus.kv import Bucket
from bus.layout import declare
from bus.link import BusConfig
from bus.server import ServerConfig, nats_server
from stoker import exits
from tests.plugins.running import ROOT, Up, running_up

PATIENCE = 20.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("identities"), "--runtime", "dummy") as running:
        yield running


def refused_by(up: Up) -> list[str]:
    log = (up.data / "nats" / "nats-server.log").read_text()
    return [line for line in log.splitlines() if "Violation" in line]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers(up: Up) -> set[str]:
    return {worker.name for worker in up.client.workers() if worker.raw["online"]}


@contextmanager
def agent(up: Up, folder: Path, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "stoker", "agent", "--runtime", "dummy"]
    process = subprocess.Popen(
        [*command, "--work", str(folder), *flags], cwd=ROOT, env=up.environment,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_a_job_runs_and_no_part_lacks_a_right(up: Up, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    run = up.stoker("submit", str(tmp_path), "--follow")
    assert run.returncode == 0, run.stderr
    assert up.stoker("jobs").returncode == 0
    assert up.stoker("doctor", "--json").stdout.count('"PASS"') >= 4
    assert refused_by(up) == []


async def test_whoever_shows_nothing_is_not_let_in(up: Up) -> None:
    with pytest.raises(Denied, match="nobody without credentials"):
        async with Bus.connect(BusConfig((up.nats,))):
            pass


def test_an_agent_without_an_invitation_is_told_what_to_do(up: Up, tmp_path: Path) -> None:
    run = up.stoker("agent", "--runtime", "dummy", "--work", str(tmp_path), "--name", "stranger")
    assert run.returncode == exits.TROUBLE
    assert "stoker worker invite" in run.stderr


def test_keys_and_credentials_are_their_owners_alone(up: Up) -> None:
    files = [*(up.data / "identities").iterdir(), *(up.data / "work" / "identity").iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((up.data / "identities").stat().st_mode) == 0o700


def test_a_machine_joins_by_the_printed_line_and_goes_when_it_is_thrown_out(
    up: Up, tmp_path: Path
) -> None:
    line = up.stoker("worker", "invite", "ant", "--pool", "lab").stdout.split()
    assert line[:3] == ["stoker", "agent", "--join"]
    with agent(up, tmp_path, *line[2:]):
        until(lambda: "ant" in workers(up))
    with agent(up, tmp_path):  # it knows who it is
        until(lambda: "ant" in workers(up))
        joined = json.loads(up.stoker("worker", "joined", "--json").stdout)
        found = {one["worker"]: (one["pool"], one["state"]) for one in joined}
        assert found["ant"] == ("lab", "joined")
        assert up.stoker("worker", "revoke", "ant").returncode == 0
    run = up.stoker("agent", "--runtime", "dummy", "--work", str(tmp_path))
    assert run.returncode == exits.TROUBLE
    assert "refuses" in run.stderr


def test_a_machine_that_joined_takes_no_other_name_or_pool(up: Up, tmp_path: Path) -> None:
    line = up.stoker("worker", "invite", "bee").stdout.split()
    run = up.stoker("agent", *line[2:], "--work", str(tmp_path), "--name", "other")
    assert run.returncode == exits.TROUBLE
    assert "joined as 'bee'" in run.stderr


def test_a_line_for_another_machine_needs_an_address_and_says_so(up: Up) -> None:
    run = up.stoker("worker", "invite", "cat")
    assert "--address" in run.stderr
    named = up.stoker("worker", "invite", "cat", "--address", "nats://10.0.0.1:4222")
    assert "--address" not in named.stderr


@pytest.mark.nats_cli
def test_the_debugging_user_sees_everything_and_changes_nothing(up: Up, tmp_path: Path) -> None:
    environment = {**up.environment, "XDG_CONFIG_HOME": str(tmp_path)}

    def nats(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["nats", "--context", "stoker", "--timeout", "2s", *arguments],
            capture_output=True, env=environment, timeout=30, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    command = [sys.executable, "-m", "stoker", "nats-context"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=30)
    assert b"JOBS" in nats("stream", "ls", "-n").stdout.split()
    assert nats("stream", "report").returncode == 0
    assert nats("kv", "ls", "workers").returncode == 0
    before = nats("stream", "info", "JOBS", "--json").stdout
    for write in (
        ("pub", "stoker.job.j.succeeded", "x"),
        ("stream", "purge", "JOBS", "--force"),
        ("consumer", "rm", "JOBS", "archive", "--force"),
        ("req", "stoker.req.scheduler.cancel", "x"),
    ):
        assert b"ermissions" in nats(*write).stderr, write
    after = nats("stream", "info", "JOBS", "--json").stdout
    assert json.loads(after)["state"]["last_seq"] == json.loads(before)["state"]["last_seq"]


async def test_what_was_stored_before_there_were_accounts_is_kept(tmp_path: Path) -> None:
    async with (
        nats_server(ServerConfig(tmp_path / "nats")) as server,
        Bus.connect(BusConfig((server.url,))) as bus,
    ):
        await declare(bus)
        await Bucket(bus, "drains").put("ant", b"1")
    keys = tmp_path / "identities"
    async with nats_server(ServerConfig(tmp_path / "nats", keys=keys)) as server:
        config = BusConfig((server.url,), credentials=str(keys / "admin.creds"))
        async with Bus.connect(config) as bus:
            assert await Bucket(bus, "drains").get("ant")


def test_a_thrown_out_machine_of_its_own_stays_out_after_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_up(data, "--runtime", "dummy") as running:
        (name,) = workers(running)
        assert running.stoker("worker", "revoke", name).returncode == 0
    token = (data / "work" / "identity" / "worker.creds").read_text()
    with running_up(data, "--runtime", "dummy"):  # its worker of before is still listed
        assert (data / "work" / "identity" / "worker.creds").read_text() == token
