"""Does the command do what docs/command.md says?"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker import exits
from tests.plugins.running import ROOT, Up, running_up, stop


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("command"), "--runtime", "dummy") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text("print(1)\n")
    return tmp_path


def submitted(up: Up, folder: Path, *flags: str) -> str:
    run = up.stoker("submit", str(folder), *flags)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_panel_tells_where_the_page_is(up: Up) -> None:
    assert up.url in up.told()


def test_submit_prints_the_id_alone(up: Up, folder: Path) -> None:
    assert re.fullmatch(r"[0-9a-z]{8}-[0-9a-z]{4}", submitted(up, folder))


def test_every_flag_reaches_the_spec(up: Up, folder: Path) -> None:
    flags = shlex.split(
        "--entry main.py --name n --priority 3 --cpus 0.5 --memory 64m --shm 32m --timeout 15m"
        " --idle-timeout 5m --exclusive"
        " --grace 2s --retries 1 --network full --python 3.12 --image x -e A=b"
    )
    run = up.stoker("submit", str(folder), *flags, "--json", "--", "--epochs", "3")
    spec = json.loads(run.stdout)["spec"]
    assert spec["arguments"] == ["--epochs", "3"]
    assert spec["environment"] == {"A": "b"}
    assert (spec["timeout"], spec["grace"], spec["retries"]) == (900, 2, 1)
    assert (spec["idle_timeout"], spec["exclusive"]) == (300, True)
    assert (spec["priority"], spec["network"], spec["python"], spec["image"]) == (
        3,
        "full",
        "3.12",
        "x",
    )
    assert spec["resources"]["shm"] == 32 << 20


def test_following_ends_with_the_jobs_own_code(up: Up, folder: Path) -> None:
    flags = ("-e", "STOKER_DUMMY_EXIT=7", "-e", "STOKER_DUMMY_LINES=3", "--retries", "0")
    run = up.stoker("submit", str(folder), "--follow", *flags)
    assert run.returncode == 7
    assert "failed" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", [("logs", "-f"), ("wait",)])
def test_logs_and_wait_end_with_the_jobs_own_code(
    up: Up, folder: Path, command: tuple[str, ...]
) -> None:
    job = submitted(up, folder, "-e", "STOKER_DUMMY_EXIT=9", "--retries", "0")
    assert up.stoker(*command, job).returncode == 9


def test_a_cancelled_job_has_a_code_of_its_own(up: Up, folder: Path) -> None:
    job = submitted(up, folder, "-e", "STOKER_DUMMY_SLEEP=60")
    assert up.stoker("cancel", job).returncode == 0
    assert up.stoker("wait", job).returncode == exits.CANCELLED


def test_a_wait_that_takes_too_long_ends_with_124(up: Up, folder: Path) -> None:
    job = submitted(up, folder, "-e", "STOKER_DUMMY_SLEEP=60")
    assert up.stoker("wait", job, "--timeout", "0.2").returncode == exits.TIMED_OUT
    up.stoker("cancel", job)


def test_ctrl_c_detaches_and_says_how_to_come_back(up: Up, folder: Path) -> None:
    job = submitted(up, folder, "-e", "STOKER_DUMMY_SLEEP=60", "-e", "STOKER_DUMMY_LINES=1")
    follower = subprocess.Popen(
        [sys.executable, "-m", "stoker", "logs", "-f", job],
        cwd=ROOT,
        env=up.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    follower.stdout.readline()
    follower.send_signal(signal.SIGINT)
    _, told = follower.communicate(timeout=20)
    assert follower.returncode == exits.DETACHED
    assert f"stoker logs -f {job}" in told
    assert not up.client.job(job).ended
    up.stoker("cancel", job)


def test_jobs_are_named_by_a_part_of_their_id_or_last(up: Up, folder: Path) -> None:
    job = submitted(up, folder)
    up.client.wait(job, timeout=30)
    for name in (job[-9:], "last"):
        assert json.loads(up.stoker("show", name, "--json").stdout)["id"] == job
    run = up.stoker("show", "nothing-like-it")
    assert (run.returncode, run.stderr) == (125, "stoker: there is no job nothing-like-it\n")


def test_show_tells_state_and_timeline(up: Up, folder: Path) -> None:
    job = submitted(up, folder, "--name", "shown")
    up.client.wait(job, timeout=30)
    told = up.stoker("show", job).stdout
    for word in ("shown", "succeeded", "submitted", "starting"):
        assert word in told


def test_show_quotes_the_lines_that_say_why(up: Up, folder: Path) -> None:
    said = "Traceback (most recent call last):\n  File \"a[b].py\", line 1\nKeyError: 'x'"
    wishes = ("-e", f"STOKER_DUMMY_ERR={said}\n", "-e", "STOKER_DUMMY_EXIT=1")
    job = submitted(up, folder, *wishes)
    up.client.wait(job, timeout=30)
    told = [
        line.split("its log says")[-1].strip()
        for line in up.stoker("show", job).stdout.splitlines()
    ]
    for line in said.splitlines():
        assert line.strip() in told
    shown = json.loads(up.stoker("show", job, "--json").stdout)
    quote = shown["attempts"][0]["end"]["quote"]
    assert (quote["rule"], quote["lines"]) == ("traceback", said.splitlines())
    assert (quote["start"], quote["end"]) == (0, len(said) + 1)


def test_jobs_are_listed_as_a_table_and_as_json(up: Up, folder: Path) -> None:
    job = submitted(up, folder, "--name", "listed")
    up.client.wait(job, timeout=30)
    assert "listed" in up.stoker("jobs").stdout
    rows = json.loads(up.stoker("jobs", "--text", "listed", "--json").stdout)
    assert [row["id"] for row in rows["jobs"]] == [job]


def test_retry_and_like_run_the_same_files_again(up: Up, folder: Path) -> None:
    job = submitted(up, folder, "--name", "old", "--cpus", "0.5")
    up.client.wait(job, timeout=30)
    assert up.stoker("retry", job, "--follow").returncode == 0
    run = up.stoker("submit", "--like", job, "--name", "new", "--json", "--", "x")
    new = json.loads(run.stdout)
    assert new["bundle"] == up.client.job(job).raw["bundle"]
    assert (new["spec"]["name"], new["spec"]["resources"]["cpus"]) == ("new", 0.5)
    assert new["spec"]["arguments"] == ["x"]


def test_secrets_are_shown_to_nobody_and_outlive_retry_and_like(up: Up, folder: Path) -> None:
    printed = f"STOKER_DUMMY_OUT={b'abcdef0123'.hex()}"
    job = submitted(up, folder, "-e", "API_KEY=abcdef0123", "-e", printed)
    again = json.loads(up.stoker("retry", job, "--json").stdout)["id"]
    like = json.loads(up.stoker("submit", "--like", job, "--json").stdout)["id"]
    sent = json.loads(up.stoker("submit", str(folder), "--like", job, "--json").stdout)["id"]
    for one in (job, again, like, sent):
        shown = up.stoker("show", one, "--json").stdout
        assert "abcdef0123" not in shown
        assert json.loads(shown)["spec"]["environment"]["API_KEY"] == "•••"
        up.client.wait(one, timeout=30)
        assert up.stoker("logs", one, "--raw").stdout.endswith("[redacted API_KEY]")


def test_workers_are_listed_and_drained(up: Up) -> None:
    name = json.loads(up.stoker("worker", "list", "--json").stdout)[0]["name"]
    assert name in up.stoker("workers").stdout
    assert up.stoker("worker", "drain", name).returncode == 0
    assert up.client.workers()[0].draining
    assert up.stoker("worker", "drain", name, "--off").returncode == 0


def test_a_refusal_is_one_line(up: Up, folder: Path) -> None:
    run = up.stoker("submit", str(folder), "--entry", "train.py")
    assert run.returncode == exits.TROUBLE
    told = run.stderr.splitlines()[-1]
    assert told.startswith("stoker: ")
    assert "main.py" in told


def test_a_second_one_on_the_same_folder_is_refused(up: Up) -> None:
    run = up.stoker("up", "--data", str(up.data), "--port", "0")
    assert run.returncode == exits.TROUBLE
    assert "another stoker up runs on" in run.stderr


def test_a_taken_port_is_told(up: Up, tmp_path: Path) -> None:
    port = up.url.rpartition(":")[2]
    run = up.stoker("up", "--data", str(tmp_path), "--port", port)
    assert (run.returncode, run.stderr.count("\n")) == (exits.TROUBLE, 1)
    assert "--port" in run.stderr


def test_a_context_for_the_nats_cli_names_the_running_server(up: Up, tmp_path: Path) -> None:
    environment = {**up.environment, "XDG_CONFIG_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "stoker", "nats-context", "mine", "--select"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=30)
    context = json.loads((tmp_path / "nats/context/mine.json").read_text())
    assert context["url"] == up.nats
    assert (tmp_path / "nats/context.txt").read_text() == "mine"


def test_doctor_gives_one_answer_for_each_thing(up: Up) -> None:
    run = up.stoker("doctor", "--json")
    made = {check["name"]: check["state"] for check in json.loads(run.stdout)}
    assert made["nats-server"] == made["data"] == made["venv"] == made["server"] == "PASS"
    assert made["store"] == "PASS"
    assert run.returncode == (1 if "FAIL" in made.values() else 0)


def test_it_stops_in_order_and_goes_on_where_it_was(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "main.py").write_text("")
    with running_up(tmp_path / "data", "--runtime", "dummy") as first:
        job = submitted(first, bundle)
        assert first.client.wait(job, timeout=30).succeeded
        nats = int((first.data / "nats.pid").read_text())
        assert stop(first.process) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(nats, 0)
    with running_up(tmp_path / "data", "--runtime", "dummy") as second:
        assert second.client.job(job).succeeded


def test_a_killed_one_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", "--runtime", "dummy") as first:
        first.process.kill()
        first.process.wait(10)
        with running_up(tmp_path / "data", "--runtime", "dummy") as second:
            assert second.client.jobs().jobs == ()
