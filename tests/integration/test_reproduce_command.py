"""Does a job's record say what it was made of, and which job it is like?"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.running import ROOT, Up, running_up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("reproduce"), "--runtime", "dummy") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text("print(1)\n")
    return tmp_path


def committed(folder: Path) -> str:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "begin"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return head.stdout.strip()


def job(up: Up, *words: str) -> dict[str, Any]:
    run = up.stoker(*words)
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout))


def set_secret(up: Up, name: str) -> None:
    command = [sys.executable, "-m", "stoker", "secret", "set", name]
    subprocess.run(command, input=b"a value", check=True, timeout=60, cwd=ROOT, env=up.environment)


def submitted(up: Up, *words: str) -> dict[str, Any]:
    return job(up, "submit", "--json", *words)


def test_the_commit_of_a_folder_is_in_the_record_and_shown(up: Up, folder: Path) -> None:
    commit = committed(folder)
    (folder / "main.py").write_text("print(2)\n")
    made = submitted(up, str(folder), "-e", "SEED=4")
    assert made["spec"]["source"]["commit"] == commit
    assert made["spec"]["source"]["dirty"] is True
    shown = " ".join(up.stoker("show", made["id"]).stdout.split())
    assert "with changes that are not in it" in shown
    assert "SEED 4" in shown
    assert job(up, "show", made["id"], "--json")["reproduce"]["seeds"] == {"SEED": "4"}


def test_like_changes_only_what_is_named_and_says_which_job(up: Up, folder: Path) -> None:
    committed(folder)
    old = submitted(
        up,
        str(folder),
        "-e",
        "LR=1",
        "-e",
        "A_TOKEN=hidden word",
        "--cpus",
        "0.5",
        "--",
        "--e",
        "3",
    )
    new = submitted(up, "--like", old["id"], "--env", "LR=0.1")
    assert new["like"] == old["id"]
    assert (new["bundle"], new["spec"]["source"]) == (old["bundle"], old["spec"]["source"])
    assert new["spec"] == {
        **old["spec"],
        "environment": {**old["spec"]["environment"], "LR": "0.1"},
    }
    again = submitted(up, "--like", new["id"], "--", "--e", "4")
    assert again["spec"] == {**new["spec"], "arguments": ["--e", "4"]}


def test_other_files_do_not_keep_the_commit_of_the_first(
    up: Up, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    committed(folder)
    old = submitted(up, str(folder))
    plain = tmp_path_factory.mktemp("plain")
    (plain / "main.py").write_text("print(3)\n")
    new = submitted(up, str(plain), "--like", old["id"])
    assert new["like"] == old["id"]
    assert new["spec"]["source"] is None


def test_the_shown_command_repeats_the_job(up: Up, folder: Path) -> None:
    old = submitted(up, str(folder), "--name", "n", "--", "a b", "$HOME")
    words = shlex.split(old["reproduce"]["command"])
    assert words[0] == "stoker"
    split = words.index("--")
    run = up.stoker(*words[1:split], "--json", *words[split:])
    new = json.loads(run.stdout)
    assert (new["spec"], new["bundle"]) == (old["spec"], old["bundle"])


def test_a_retry_says_what_it_repeats(up: Up, folder: Path) -> None:
    old = submitted(up, str(folder), "-e", "STOKER_DUMMY_LINES=1")
    assert up.stoker("wait", old["id"]).returncode == 0
    new = job(up, "retry", old["id"], "--json")
    assert (new["retry_of"], new["like"]) == (old["id"], None)
    assert (new["spec"], new["bundle"]) == (old["spec"], old["bundle"])


def test_a_job_like_one_that_is_not_there_is_refused(up: Up, folder: Path) -> None:
    run = up.stoker("submit", str(folder), "--like", "abcdefgh-0000")
    assert run.returncode != 0
    assert "abcdefgh-0000" in run.stderr


def test_like_keeps_secrets_by_name_and_replaces_those_named(up: Up, folder: Path) -> None:
    for name in ("FIRST", "SECOND"):
        set_secret(up, name)
    old = submitted(up, str(folder), "--secret", "FIRST", "--secret", "SECOND")
    new = submitted(up, "--like", old["id"], "--secret", "SECOND=OTHER")
    uses = {use["name"]: use["variable"] for use in new["spec"]["secrets"]}
    assert set(uses) == {"FIRST", "SECOND"}
    assert uses["SECOND"] == "OTHER"
    kept = submitted(up, "--like", old["id"], "--env", "LR=1")
    assert kept["spec"]["secrets"] == old["spec"]["secrets"]
