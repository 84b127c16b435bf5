"""Jobs that name secrets, from the submission to the end, as plain processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.folder import AttemptFolder
from agent.handing import Secrets
from agent.runtimes.process import ProcessRuntime
from agent.runtimes.process_secrets import MEMORY, place_of
from agent.runtimes.protocol import Preparation
from bus import subjects
from bus.boxes import seal
from bus.codec import encode
from bus.connection import Bus
from bus.errors import Refused
from bus.server import EmbeddedServer
from schemas.job import Reason, Record, State
from schemas.message import Empty
from schemas.requests import Submit, Submitted
from schemas.secret import AskKey, RemoveSecret, SealingKey, SecretValue, SetSecret
from schemas.spec import JobSpec
from schemas.worker import Grant
from services.secrets.config import SecretsConfig
from services.secrets.service import run as run_secrets
from tests.integration.house import PATIENCE, SMALL, House, open_house

TOKEN = "magpie-19c0-secret"
KEY = b"-----BEGIN KEY-----\nmagpie-77ab-line-one\nmagpie-77ab-line-two\n-----END KEY-----\n"
MAIN = """\
import base64, os, pathlib, sys
token = os.environ["HF"]
key = pathlib.Path(os.environ["STOKER_SECRETS"], "key")
print(token, base64.b64encode(token.encode()).decode())
for line in key.read_text().splitlines():
    print("  |", line)
print(oct(key.stat().st_mode & 0o777), oct(key.parent.stat().st_mode & 0o777), key.parent)
if "wait" in sys.argv:
    print("ready", flush=True)
    while not pathlib.Path(os.environ["STOKER_OUTPUTS"], "go").exists():
        pass
"""
USES = ["TOKEN=HF", "KEY:/run/secrets/key"]


@pytest.fixture
async def house(server: EmbeddedServer, bus: Bus, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(server.url, bus, tmp_path) as opened, asyncio.TaskGroup() as tasks:
        config = SecretsConfig(tmp_path / "secrets.key")
        service = tasks.create_task(run_secrets(bus, config))
        await asyncio.sleep(0)
        for name, value in (("TOKEN", TOKEN.encode()), ("KEY", KEY)):
            await set_secret(bus, name, value)
        yield opened
        service.cancel()


async def set_secret(bus: Bus, name: str, value: bytes) -> None:
    key = await bus.request(subjects.request("secrets", "key"), AskKey(), SealingKey)
    told = SecretValue(owner="tester", name=name, value=value)
    sealed = seal(key.key, encode(told)[0])
    message = SetSecret(owner="tester", name=name, sealed=sealed)
    await bus.request(subjects.request("secrets", "set"), message, Empty)


async def remove_secret(bus: Bus, name: str) -> None:
    message = RemoveSecret(owner="tester", name=name)
    await bus.request(subjects.request("secrets", "remove"), message, Empty)


def files_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_process_gets_a_variable_and_a_file_and_its_log_shows_neither(
    house: House,
) -> None:
    house.agent("process")
    job = await house.submit({"main.py": MAIN}, secrets=USES)
    record = await house.ended(job)
    log = (await house.log(record)).decode()
    assert record.state is State.SUCCEEDED, log
    assert "[redacted TOKEN] [redacted TOKEN]" in log
    assert "  | [redacted KEY]" in log
    assert "magpie" not in log
    assert f"0o600 0o700 {MEMORY}" in log


async def test_nothing_of_it_lies_on_the_disk_or_stays_in_memory(house: House) -> None:
    house.agent("process")
    job = await house.submit({"main.py": MAIN}, secrets=USES, arguments=["wait"])
    record = await house.running(job)
    await house.printed(record, b"ready")
    attempt = house.folder / "w1" / "attempts" / f"{job}.1"
    assert place_of(attempt).is_dir()
    assert b"magpie" not in files_of(house.folder)
    (attempt / "outputs" / "go").touch()
    await house.ended(job)
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(until, lambda: not place_of(attempt).exists())
    assert b"magpie" not in files_of(house.folder)


async def test_the_program_keeps_them_when_its_agent_is_replaced(house: House) -> None:
    first = house.agent("process")
    job = await house.submit({"main.py": MAIN}, secrets=USES, arguments=["wait"])
    await house.printed(await house.running(job), b"ready")
    await house.end(first)
    await remove_secret(house.bus, "TOKEN")
    house.agent("process")
    (house.folder / "w1" / "attempts" / f"{job}.1" / "outputs" / "go").touch()
    record = await house.ended(job)
    assert (record.state, record.attempt) == (State.SUCCEEDED, 1)


async def test_a_name_that_the_owner_does_not_have_is_refused_with_those_near(
    house: House,
) -> None:
    with pytest.raises(Refused, match=r"no secret TOKE; did you mean TOKEN\?") as refused:
        await house.submit(secrets=["TOKE"])
    problem = refused.value.problem
    assert (problem.status, problem.code, problem.field) == (422, "no_such_secret", "secrets")


async def test_whoever_submits_the_job_of_another_needs_secrets_of_their_own(house: House) -> None:
    job = await house.submit(secrets=["TOKEN"])
    record = await house.until(job, lambda _: True)
    copy = Submit(owner="somebody", key="k1", spec=record.spec, bundle=record.bundle)
    with pytest.raises(Refused, match="somebody has no secret TOKEN"):
        await house.bus.request(subjects.request("upload", "submit"), copy, Submitted)


async def test_a_secret_that_was_removed_meanwhile_is_the_reason_and_is_not_retried(
    house: House,
) -> None:
    job = await house.submit(secrets=["TOKEN"])
    await remove_secret(house.bus, "TOKEN")
    house.agent("process")
    record = await house.ended(job)
    assert (record.reason, record.attempt) == (Reason.SECRET_UNAVAILABLE, 1)
    assert record.detail == "there is no secret TOKEN any more"
    assert b"there is no secret TOKEN any more" in await house.log(record)


async def test_a_value_with_a_nul_is_no_variable_and_is_told_so(house: House) -> None:
    await set_secret(house.bus, "BINARY", b"\0\1")
    house.agent("process")
    record = await house.ended(await house.submit(secrets=["BINARY"]))
    assert record.reason is Reason.SECRET_UNAVAILABLE
    assert "give it as a file" in record.detail


async def test_what_looks_like_a_secret_is_told_at_the_submission(house: House) -> None:
    first = await house.until(await house.submit(), lambda _: True)
    environment = {"MY_TOKEN": "abcdefgh", "SEED": "7"}
    spec = JobSpec.model_validate({"resources": SMALL, "environment": environment})
    asked = Submit(owner="tester", key="k2", spec=spec, bundle=first.bundle)
    answer = await house.bus.request(subjects.request("upload", "submit"), asked, Submitted)
    (note,) = answer.notes
    assert note.startswith("MY_TOKEN looks like a secret")
    assert "abcdefgh" not in note


async def test_the_login_of_an_image_is_the_agents_alone(house: House, bus: Bus) -> None:
    await set_secret(bus, "LOGIN", b"me:at-the-desk-77")
    asked = {"image": "registry.example/base:1", "image_secret": "LOGIN"}
    house.agent("process")
    code = (
        "import os\n"
        "values = [*os.environ.values(), *map(str, os.listdir(os.environ['STOKER_OUTPUTS']))]\n"
        "print(any('at-the-' + 'desk' in one for one in values), 'STOKER_SECRETS' in os.environ)\n"
    )
    job = await house.submit({"main.py": code}, **asked)
    record = await house.ended(job)
    log = (await house.log(record)).decode()
    assert record.state is State.SUCCEEDED, log
    assert "False False" in log
    assert b"at-the-desk" not in files_of(house.folder)
    with pytest.raises(Refused, match="did you mean LOGIN"):
        await house.submit({"main.py": ""}, **{**asked, "image_secret": "LOGNI"})


async def test_the_record_holds_names_alone(house: House) -> None:
    job = await house.submit(secrets=USES)
    record: Record = await house.until(job, lambda _: True)
    assert [(use.name, use.target) for use in record.spec.secrets] == [
        ("TOKEN", "HF"),
        ("KEY", "/run/secrets/key"),
    ]


async def test_a_shim_that_waits_is_served_by_the_next_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is gone between the start and the handing over."""
    secrets = Secrets({"TOKEN": TOKEN.encode()}, {"HF": "TOKEN"})
    folder = AttemptFolder(tmp_path / "attempts" / "j1.1")
    folder.outputs.mkdir(parents=True)
    folder.job.mkdir()
    (folder.job / "main.py").write_text("import os\nassert os.environ['HF'][:6] == 'magpie'\n")
    spec = JobSpec.model_validate({"secrets": ["TOKEN=HF"]})
    grant = Grant(job="j1", attempt=1, nonce="n", spec=spec, bundle="b")
    async with contextlib.AsyncExitStack() as stack:
        first, second = ProcessRuntime(tmp_path), ProcessRuntime(tmp_path)
        for runtime in (first, second):
            await runtime.open()
            stack.push_async_callback(runtime.close)
        prepared = await first.prepare(Preparation(grant, folder, "w1"), lambda *_: None)
        with monkeypatch.context() as patch:
            patch.setattr(first, "hand_over", nothing)
            await first.start(folder, prepared.launch, lambda _: None)
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(until, folder.shim_lives)
        await first.discard(folder)
        assert await second.adopt(folder, lambda _: None)
        await second.hand_over(folder, secrets)
        async with asyncio.timeout(PATIENCE):
            exit = await second.wait(folder)
    assert (exit.code, exit.reason) == (0, Reason.EXIT), folder.path


def until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.01)


async def nothing(*_: object) -> None:
    return None
