"""Do scripts get what the server knows, through ``import stoker``?"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker import submitting
from stoker.client import Client, Job, LogPiece, Refused, Unreachable
from tests.plugins.running import ROOT, Up, running_up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("client"), "--runtime", "dummy") as running:
        yield running


@pytest.fixture
def client(up: Up) -> Client:
    return up.client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text("print(1)\n")
    return tmp_path


def printed(client: Client, job: str, after: str = "0.0.0") -> bytes:
    pieces = [event for event in client.follow(job, after=after) if isinstance(event, LogPiece)]
    return b"".join(
        data for piece in pieces for stream, data in piece.parts() if stream not in ("s", "b")
    )


def test_a_job_is_submitted_and_waited_for(client: Client, folder: Path) -> None:
    job = client.submit(folder, name="first", arguments=["a"], resources={"memory": "64m"})
    ended = client.wait(job.id, timeout=30)
    assert (ended.state, ended.exit_code, ended.name) == ("succeeded", 0, "first")
    assert ended.raw["spec"]["resources"]["memory"] == 64 << 20


def test_the_same_key_gets_the_same_job(client: Client, folder: Path) -> None:
    first = client.submit(folder, key="one-key")
    assert client.submit(folder, key="one-key").id == first.id


def test_a_second_submission_sends_only_what_changed(
    client: Client,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    (folder / "big").write_bytes(random.Random(1).randbytes(3 << 20))
    sent: list[int] = []
    client.submit(folder, progress=sent.append)
    assert sent[-1] > 3 << 20
    sent.clear()
    (folder / "main.py").write_text("print(2)\n")
    job = client.submit(folder, progress=sent.append)
    assert 0 < sent[-1] < 100_000
    assert client.wait(job.id, timeout=60).state == "succeeded"


def test_a_big_zip_goes_in_parts(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "IN_PARTS", 1 << 20)
    with zipfile.ZipFile(folder / "job.zip", "w") as archive:
        archive.writestr("main.py", "print(1)\n")
        archive.writestr("noise", random.Random(2).randbytes(9 << 20))
    sent: list[int] = []
    job = client.submit(folder / "job.zip", progress=sent.append)
    assert sent == [0, 8 << 20, (folder / "job.zip").stat().st_size]
    assert client.wait(job.id, timeout=60).state == "succeeded"


def test_a_failing_job_is_a_value(client: Client, folder: Path) -> None:
    job = client.submit(folder, environment={"STOKER_DUMMY_EXIT": "3"}, retries=0)
    ended = client.wait(job.id, timeout=30)
    assert (ended.state, ended.reason, ended.exit_code) == ("failed", "exit", 3)


def test_a_follower_sees_every_line_and_the_states(client: Client, folder: Path) -> None:
    job = client.submit(folder, environment={"STOKER_DUMMY_LINES": "500"})
    events = list(client.follow(job.id))
    states = [event.state for event in events if isinstance(event, Job)]
    assert states[-1] == "succeeded"
    assert printed(client, job.id).count(b"\n") == 500


def test_a_follower_goes_on_at_its_cursor(client: Client, folder: Path) -> None:
    job = client.submit(folder, environment={"STOKER_DUMMY_LINES": "500"})
    client.wait(job.id, timeout=30)
    pieces = [event for event in client.follow(job.id) if isinstance(event, LogPiece)]
    whole = b"".join(piece.data for piece in pieces)
    middle = len(whole) // 2
    rest = [event for event in client.follow(job.id, after=f"1.0.{middle}")]
    assert b"".join(e.data for e in rest if isinstance(e, LogPiece)) == whole[middle:]


def test_the_stored_log_is_read_without_following(client: Client, folder: Path) -> None:
    job = client.submit(folder, environment={"STOKER_DUMMY_LINES": "3"})
    list(client.follow(job.id))
    assert b"".join(client.log(job.id)).count(b"\n") >= 3


def test_a_follower_may_leave_in_the_middle(client: Client, folder: Path) -> None:
    job = client.submit(folder, environment={"STOKER_DUMMY_SLEEP": "60"})
    for event in client.follow(job.id):
        if isinstance(event, Job):
            break
    assert not [t for t in threading.enumerate() if t.name == "stoker-follow"]
    client.cancel(job.id)
    assert client.wait(job.id, timeout=30).state == "cancelled"


def test_a_retried_job_is_a_new_one(client: Client, folder: Path) -> None:
    job = client.submit(folder, name="again")
    client.wait(job.id, timeout=30)
    new = client.retry(job.id)
    assert new.id != job.id
    assert new.raw["retry_of"] == job.id
    assert client.wait(new.id, timeout=30).succeeded


def test_jobs_are_listed_and_searched(client: Client, folder: Path) -> None:
    job = client.submit(folder, name="needle")
    client.wait(job.id, timeout=30)
    give_up = time.monotonic() + 20
    while not (found := client.jobs(text="needle", state="succeeded")).jobs:
        assert time.monotonic() < give_up  # the index follows the record by a moment
        time.sleep(0.02)
    assert [one.id for one in found.jobs] == [job.id]
    assert found.counts["succeeded"] == 1


def test_workers_are_listed_and_drained(client: Client) -> None:
    (worker,) = client.workers()
    assert worker.runtime == "dummy"
    client.drain(worker.name)
    try:
        assert client.workers()[0].draining
    finally:
        client.drain(worker.name, False)


def test_a_refusal_says_what_to_change(client: Client, folder: Path) -> None:
    with pytest.raises(Refused, match=r"main\.py") as told:
        client.submit(folder, entry="train.py")
    assert told.value.status in (400, 422)
    with pytest.raises(Refused, match="did you mean 'memory'") as told:
        client.submit(folder, resources={"memroy": "1g"})
    assert told.value.code == "invalid_spec"


@pytest.mark.parametrize("call", ["job", "cancel", "retry", "wait"])
def test_an_unknown_job_is_refused(client: Client, call: str) -> None:
    with pytest.raises(Refused) as told:
        getattr(client, call)("00000000-0000")
    assert told.value.status == 404


def test_following_an_unknown_job_is_refused(client: Client) -> None:
    with pytest.raises(Refused):
        list(client.follow("00000000-0000"))


def test_a_wait_has_its_limit(client: Client, folder: Path) -> None:
    job = client.submit(folder, environment={"STOKER_DUMMY_SLEEP": "60"})
    with pytest.raises(TimeoutError):
        client.wait(job.id, timeout=0.3)
    client.cancel(job.id)


def test_no_server_is_told() -> None:
    with pytest.raises(Unreachable, match="stoker up"):
        Client("http://127.0.0.1:9").jobs()


def test_importing_the_client_touches_neither_the_path_nor_the_bus() -> None:
    code = (
        "import sys; before = list(sys.path); import stoker; stoker.Client;"
        "assert sys.path == before;"
        "assert not {'nats', 'bus', 'schemas', 'aiohttp', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30)
