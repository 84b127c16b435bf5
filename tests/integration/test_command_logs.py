"""``stoker logs`` by lines, time and pattern, and the same over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.request import Request

import pytest

from tests.plugins.running import Up, running_up

LINES = 300


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("logs"), "--runtime", "dummy") as running:
        yield running


@pytest.fixture(scope="module")
def job(up: Up, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("job")
    (folder / "main.py").write_text("")
    flags = ("-e", f"STOKER_DUMMY_LINES={LINES}", "-e", "STOKER_DUMMY_LINE_BYTES=20")
    run = up.stoker("submit", str(folder), *flags, "-e", "STOKER_DUMMY_ERR=no end")
    assert run.returncode == 0, run.stderr
    found: str = run.stdout.strip()
    assert up.stoker("wait", found).returncode == 0
    return found


def printed(run: subprocess.CompletedProcess[str]) -> list[str]:
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def numbers(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.search(r"line (\d+) ", line))]


def test_the_last_lines_alone(up: Up, job: str) -> None:
    assert numbers(printed(up.stoker("logs", job, "--tail", "3"))) == [297, 298, 299]
    assert printed(up.stoker("logs", job, "--tail", "0")) == []


def test_following_from_the_last_lines_on(up: Up, job: str) -> None:
    assert numbers(printed(up.stoker("logs", "-f", job, "--tail", "2"))) == [298, 299]


@pytest.mark.parametrize("flags", [(), ("-f",)])
def test_only_lines_that_match(up: Up, job: str, flags: tuple[str, ...]) -> None:
    lines = printed(up.stoker("logs", job, *flags, "--grep", r"line 2\d5 "))
    assert numbers(lines) == [205, 215, 225, 235, 245, 255, 265, 275, 285, 295]


def test_when_each_line_was_printed(up: Up, job: str) -> None:
    lines = printed(up.stoker("logs", job, "--timestamps", "--tail", "2"))
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} line", line) for line in lines)


def test_what_came_since(up: Up, job: str) -> None:
    assert len(printed(up.stoker("logs", job, "--since", "1h"))) == LINES
    assert printed(up.stoker("logs", job, "--since", "2999-01-01")) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--grep", "("), "write a regular expression"),
        (("--since", "soon"), "a time ago such as 10m"),
        (("--raw", "--timestamps"), "leave out --grep and --timestamps"),
        (("--attempt", "7", "-t"), "no attempt 7; its newest is 1"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    up: Up, job: str, flags: tuple[str, ...], words: str
) -> None:
    run = up.stoker("logs", job, *flags)
    assert run.returncode != 0
    assert words in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def painted(up: Up, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("painted")
    (folder / "main.py").write_text("")
    text = "\x1b[1mtitle\x1b[0m\n" + "".join(f"\rEpoch 1: {n}%" for n in range(101)) + "\ndone\n"
    run = up.stoker("submit", str(folder), "-e", f"STOKER_DUMMY_OUT={text}")
    assert run.returncode == 0, run.stderr
    found: str = run.stdout.strip()
    assert up.stoker("wait", found).returncode == 0
    return found


@pytest.mark.parametrize("flags", [(), ("-f",), ("--tail", "3"), ("--grep", "t|E|d")])
def test_what_was_painted_over_is_left_out(up: Up, painted: str, flags: tuple[str, ...]) -> None:
    lines = printed(up.stoker("logs", painted, *flags))
    assert lines[-3:] == ["title", "Epoch 1: 100%", "done"]
    assert sum("Epoch" in line for line in lines) == 1


@pytest.mark.parametrize("flags", [(), ("-f",)])
def test_every_byte_is_there_for_who_asks(up: Up, painted: str, flags: tuple[str, ...]) -> None:
    run = up.stoker("logs", painted, "--raw", *flags)
    assert "\x1b[1mtitle" in run.stdout
    assert run.stdout.count("Epoch") == 101


def test_lines_over_http_say_where_they_begin(up: Up, job: str) -> None:
    url = f"{up.url}/api/v1/jobs/{job}/log"
    who = {"Authorization": f"Bearer {up.token}"}
    with urllib.request.urlopen(Request(f"{url}?lines=3-4", headers=who), timeout=10) as answer:
        assert len(answer.read().splitlines()) == 2
        assert answer.headers["Stoker-Line"] == "3"
        cursor = answer.headers["Stoker-Cursor"]
    assert re.fullmatch(r"1\.0\.\d+", cursor)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(Request(f"{url}?lines=4-3", headers=who), timeout=10)
    problem = json.load(refused.value)
    assert (problem["status"], problem["code"]) == (422, "bad_window")
