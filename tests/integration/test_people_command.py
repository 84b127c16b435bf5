"""Does the command let people in, and nobody else, as docs/people.md says?"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from bus.connection import Bus
from bus.link import BusConfig
from stoker import exits
from stoker.answers import NotSignedIn, Refused
from stoker.client import Client
from stoker.keeping import OWN_TOKEN
from tests.plugins.running import ROOT, Up, running_up, stop

TIMEOUT = 30


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("people"), "--runtime", "dummy") as running:
        yield running


@pytest.fixture
def elsewhere(up: Up, tmp_path: Path) -> dict[str, str]:
    """The surroundings of somebody who has nothing but the address."""
    nothing = {"STOKER_DATA": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return {**up.environment, **nothing}


def stoker(
    environment: dict[str, str], *arguments: str, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stoker", *arguments], env=environment, cwd=ROOT, input=typed,
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip


def good(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def made_user(up: Up, name: str, *flags: str) -> str:
    """A user's token, made by the admin."""
    good(up.stoker("user", "add", name, *flags))
    return good(up.stoker("token", "make", "test", "--user", name))


def test_whoever_started_it_is_an_admin_and_has_to_do_nothing(up: Up) -> None:
    users = json.loads(good(up.stoker("user", "list", "--json")))
    assert [user["role"] for user in users if user["created_by"] == "first start"] == ["admin"]
    path = up.data / "identities" / OWN_TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_terminal_the_link_is_in_a_file_for_its_owner_alone(up: Up) -> None:
    file = up.data / "sign-in.url"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    link = file.read_text().strip()
    assert re.fullmatch(re.escape(up.url) + r"/sign-in#link=\S+\.[0-9a-f]{64}", link)
    assert file.name in up.told().replace("\n", "")
    assert link.rpartition(".")[2] not in up.told()


def test_a_stranger_is_told_in_one_line_what_to_do(up: Up, elsewhere: dict[str, str]) -> None:
    run = stoker(elsewhere, "jobs")
    assert run.returncode == exits.TROUBLE
    assert run.stderr == (
        f"stoker: {up.url} asks who you are; sign in with: stoker login {up.url}\n"
    )


def test_a_token_is_kept_by_login_and_forgotten_by_logout(
    up: Up, elsewhere: dict[str, str]
) -> None:
    token = made_user(up, "kept")
    run = stoker(elsewhere, "login", up.url, typed=f"{token}\n")
    good(run)
    assert "you are kept (member)" in run.stderr
    assert token not in run.stderr + run.stdout
    file = Path(elsewhere["XDG_CONFIG_HOME"]) / "stoker" / "tokens.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    good(stoker(elsewhere, "jobs"))
    good(stoker(elsewhere, "logout", up.url))
    assert stoker(elsewhere, "jobs").returncode == exits.TROUBLE


def test_login_keeps_no_token_that_does_not_count(up: Up, elsewhere: dict[str, str]) -> None:
    run = stoker(elsewhere, "login", up.url, typed="stk_nobody_" + "0" * 64)
    assert run.returncode == exits.TROUBLE
    assert "does not take that token" in run.stderr
    assert not (Path(elsewhere["XDG_CONFIG_HOME"]) / "stoker" / "tokens.json").exists()


def test_a_token_in_the_environment_counts_until_it_is_revoked(
    up: Up, elsewhere: dict[str, str]
) -> None:
    token = made_user(up, "robot")
    mine = {**elsewhere, "STOKER_TOKEN": token}
    (row,) = json.loads(good(stoker(mine, "token", "list", "--json")))
    assert (row["user"], row["scope"], row["name"]) == ("robot", "member", "test")
    good(stoker(mine, "token", "revoke", row["id"]))
    with pytest.raises(NotSignedIn):
        Client(up.url, token=token).jobs()


def test_a_member_sees_their_own_jobs_and_rules_over_nobody(up: Up, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    mine = Client(up.url, token=made_user(up, "mia"))
    other = Client(up.url, token=made_user(up, "oskar"))
    job = mine.submit(tmp_path)
    assert job.owner == "mia"
    assert [one.id for one in mine.jobs().jobs] == [job.id]
    assert other.jobs().jobs == ()
    with pytest.raises(Refused) as unseen:
        other.cancel(job.id)
    assert unseen.value.status == 404
    with pytest.raises(Refused) as ruled:
        other.transport.get("/api/v1/people")
    assert ruled.value.status == 403
    good(up.stoker("user", "team", "mia", "vision"))
    good(up.stoker("user", "team", "oskar", "vision"))
    assert up.client.transport.get("/api/v1/me")["role"] == "admin"


def test_a_log_is_followed_with_a_token_and_not_without(up: Up, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    job = up.client.submit(tmp_path)
    events = list(up.client.follow(job.id))
    assert events
    with pytest.raises(NotSignedIn):
        list(Client(up.url, token="stk_nobody_" + "0" * 64).follow(job.id))


def test_a_job_is_shared_by_a_link_until_it_is_taken_back(up: Up, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print(1)\n")
    job = up.client.submit(tmp_path)
    link = good(up.stoker("share", job.id, "--expires", "1h"))
    assert link.startswith(f"{up.url}/shared/{job.id}.")
    (row,) = json.loads(good(up.stoker("share", job.id, "--list", "--json")))
    good(up.stoker("share", job.id, "--revoke", row["id"]))
    assert json.loads(good(up.stoker("share", job.id, "--list", "--json"))) == []


def test_a_slip_of_the_keyboard_makes_no_user(up: Up) -> None:
    for arguments in (("role", "nobdy", "admin"), ("team", "nobdy", "a"), ("remove", "nobdy")):
        run = up.stoker("user", *arguments)
        assert (run.returncode, run.stdout) == (exits.TROUBLE, "")
        assert "there is no user nobdy" in run.stderr


def test_who_is_removed_is_out_and_people_lacks_no_right(up: Up) -> None:
    token = made_user(up, "gone")
    assert Client(up.url, token=token).transport.get("/api/v1/me")["name"] == "gone"
    good(up.stoker("user", "remove", "gone"))
    with pytest.raises(NotSignedIn):
        Client(up.url, token=token).jobs()
    log = (up.data / "nats" / "nats-server.log").read_text()
    assert [line for line in log.splitlines() if "Violation" in line] == []


async def test_who_debugs_the_bus_hears_no_password_and_no_token(up: Up) -> None:
    heard: list[bytes] = []
    beat = asyncio.Event()

    async def listen(message: Msg) -> None:
        heard.append(message.subject.encode() + b" " + message.data)
        if message.subject.startswith("stoker.beat."):
            beat.set()

    debug = str(up.data / "identities" / "debug.creds")
    async with (
        Bus.connect(BusConfig((up.nats,), credentials=debug)) as bus,
        bus.subscribe(">", listen),
    ):
        await bus.flush()
        made = await asyncio.to_thread(made_user, up, "loud")
        with pytest.raises(Refused):
            await asyncio.to_thread(
                Client(up.url).transport.post,
                "/api/v1/sign-in",
                {"name": "loud", "password": "words that nobody hears"},
            )
        beat.clear()
        async with asyncio.timeout(TIMEOUT):
            await beat.wait()
    said = b"\n".join(heard)
    assert b"stoker.audit.people.sign-in-refused" in said
    for secret in (made.encode(), b"words that nobody hears", b"stoker.req.people."):
        assert secret not in said


def test_the_last_admin_stays(up: Up) -> None:
    me = up.client.transport.get("/api/v1/me")["name"]
    for arguments in (("role", me, "member"), ("remove", me)):
        run = up.stoker("user", *arguments)
        assert run.returncode == exits.TROUBLE
        assert "is the only admin" in run.stderr


@pytest.mark.parametrize("expires", ["soon", "0s", "3650d"])
def test_a_time_that_makes_no_sense_is_refused(up: Up, expires: str) -> None:
    me = up.client.transport.get("/api/v1/me")["name"]
    run = up.stoker("user", "link", me, "--expires", expires)
    assert (run.returncode, run.stdout) == (exits.TROUBLE, "")
    assert run.stderr.count("\n") == 1


def test_at_a_terminal_the_link_itself_is_shown_and_signs_in_once(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "stoker", "up", "--data", str(tmp_path / "data")]
    command += ["--port", "0", "--nats-port", "0", "--runtime", "dummy"]
    surroundings = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "300"}
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, cwd=ROOT, env={**surroundings, "NO_COLOR": "1"}
    )
    os.close(theirs)
    try:
        seen = ""
        while "Ctrl-C stops it" not in seen:
            seen += os.read(ours, 4096).decode(errors="replace")
        found = re.search(r"(http://\S+)/sign-in#link=([0-9a-z._-]+)", seen)
        assert found, seen
        entered = Client(found[1]).transport.post("/api/v1/sign-in", {"link": found[2]})
        assert (entered["role"], entered["way"]) == ("admin", "session")
        with pytest.raises(Refused):
            Client(found[1]).transport.post("/api/v1/sign-in", {"link": found[2]})
    finally:
        stop(process)
        os.close(ours)


def test_sign_in_is_switched_off_for_this_machine_alone(tmp_path: Path) -> None:
    with running_up(tmp_path, "--runtime", "dummy", "--no-sign-in") as up:
        assert "off: whoever uses this machine" in up.told()
        assert not (up.data / "identities" / OWN_TOKEN).exists()
        assert Client(up.url).jobs().jobs == ()
        run = up.stoker("up", "--no-sign-in", "--host", "0.0.0.0", "--data", str(tmp_path / "x"))
        assert run.returncode == exits.TROUBLE
        assert run.stderr.startswith("stoker: --no-sign-in: ")
