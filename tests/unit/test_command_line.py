"""Is the command line read as meant, and is trouble told in one line?"""

from __future__ import annotations

import pytest

from stoker import command, exits
from stoker.answers import Job, read_job
from stoker.commands.submit import given, merged

SPLITS = [
    (["submit", "x", "--", "-f", "--"], (["submit", "x"], ["-f", "--"])),
    (["submit", "x", "-f"], (["submit", "x", "-f"], [])),
    (["logs", "--", "last"], (["logs", "--", "last"], [])),
    ([], ([], [])),
]


@pytest.mark.parametrize(("arguments", "parts"), SPLITS)
def test_arguments_of_the_program_are_split_off(
    arguments: list[str], parts: tuple[list[str], list[str]]
) -> None:
    assert command.split(arguments) == parts


TROUBLE = [
    (["nonsense"], exits.USAGE, "No such command 'nonsense'"),
    (["submit", "--nonsense"], exits.USAGE, "No such option"),
    (["submit", "a", "b"], exits.USAGE, "come after --"),
    (["submit", "/nowhere/at/all"], exits.TROUBLE, "there is no /nowhere/at/all"),
    (["submit"], exits.TROUBLE, "say what to send"),
    (["submit", ".", "--env", "NOT_SET_ANYWHERE"], exits.TROUBLE, "write NOT_SET_ANYWHERE=VALUE"),
    (["serve", "lunch"], exits.TROUBLE, "there is no service 'lunch'"),
    (["jobs", "--server", "ftp://x"], exits.TROUBLE, "is not a server's address"),
    (["agent", "--config", "/nowhere.toml"], exits.TROUBLE, "/nowhere.toml cannot be read"),
    (["agent", "--label", "x"], exits.TROUBLE, "write KEY=VALUE"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), TROUBLE, ids=[t[2] for t in TROUBLE])
def test_trouble_is_one_line_and_a_code(
    arguments: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(arguments) == code
    told = capsys.readouterr().err
    assert text in told
    assert told.count("\n") == 1
    assert told.startswith("stoker: ")


def test_no_server_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["jobs", "--server", "http://127.0.0.1:9"]) == exits.TROUBLE
    assert "start it with: stoker up" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("stoker ")


def ended(**values: object) -> Job:
    return read_job({"job": {"id": "x", "state": "failed", "submitted_at": 1.0, **values}})


def killed(number: int) -> tuple[dict[str, object], ...]:
    return ({"end": {"signal": number}},)


CODES = [
    (ended(state="succeeded", exit_code=0), 0),
    (ended(reason="exit", exit_code=7), 7),
    (ended(reason="exit", attempts=killed(11)), 139),
    (ended(reason="oom", exit_code=1), 137),
    (ended(reason="timeout", attempts=killed(9)), exits.TIMED_OUT),
    (ended(reason="build_failed"), exits.NO_CODE),
    (ended(reason="worker_lost"), exits.NO_CODE),
    (ended(state="cancelled", attempts=killed(15)), exits.CANCELLED),
]


@pytest.mark.parametrize(("job", "code"), CODES)
def test_an_end_has_its_code(job: Job, code: int) -> None:
    assert exits.code_of(job) == code


def test_what_was_not_said_is_left_to_the_server() -> None:
    assert given({"entry": None, "gpus": 0, "environment": {}, "name": "x"}) == {
        "gpus": 0,
        "name": "x",
    }


def test_like_keeps_the_old_spec_and_takes_what_is_new() -> None:
    spec = {"entry": "a.py", "resources": {"cpus": 2, "gpus": 1}, "environment": {"A": "1"}}
    new = merged(ended(spec=spec), {"name": "b", "resources": {"cpus": 4}})
    assert new == {**spec, "name": "b", "resources": {"cpus": 4, "gpus": 1}}
