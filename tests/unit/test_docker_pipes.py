"""The FIFOs between a container and its shim."""

from __future__ import annotations

import os
import select
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.runtimes.docker_container import settings
from agent.runtimes.docker_pipes import (
    INSIDE,
    SCRIPT,
    Pipe,
    close_pipes,
    folder,
    make_pipes,
    open_pipes,
    through_pipes,
)
from agent.runtimes.docker_shell import command_of
from agent.runtimes.protocol import Launch
from schemas.stream import Stream


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    user = f"{os.getuid()}:{os.getgid()}"
    details = {"image": "sha256:1", "user": user, "pipes": True}
    return Launch("docker", "j", 1, "w", str(tmp_path), ("python", "main.py"), {}, details=details)


@pytest.fixture
def pipes(launch: Launch) -> Iterator[tuple[Pipe, ...]]:
    make_pipes(Path(launch.folder), launch.details["user"])
    opened = open_pipes(launch)
    yield opened
    close_pipes(opened)


def run_inside(launch: Launch, *command: str) -> subprocess.CompletedProcess[bytes]:
    """As the container's shell does, with the folder at its own place."""
    script = SCRIPT.replace(INSIDE, str(folder(launch)))
    words = ["/bin/sh", "-c", script, "sh", *command]
    return subprocess.run(words, capture_output=True, timeout=10, check=False)


def test_both_streams_come_through_and_end_with_the_program(
    launch: Launch, pipes: tuple[Pipe, ...]
) -> None:
    out, err = pipes
    assert (out.read(), out.lasting) == ((), False)
    writers = [os.open(folder(launch) / name, os.O_RDWR) for name in ("out", "err")]
    told = run_inside(launch, "sh", "-c", "echo said; echo wrong >&2; exit 3")
    assert (told.returncode, told.stdout, told.stderr) == (3, b"", b"")
    assert out.read() == ((Stream.STDOUT, b"said\n"),)
    assert err.read() == ((Stream.STDERR, b"wrong\n"),)
    assert (out.read(), out.lasting) == ((), True)
    for writer in writers:
        os.close(writer)
    assert (out.read(), err.read()) == (None, None)


def test_a_pipe_that_nobody_opened_is_no_end_until_the_program_has_ended(
    pipes: tuple[Pipe, ...],
) -> None:
    out = pipes[0]
    assert not select.select([out], [], [], 0)[0] or out.read() == ()
    assert out.read() == ()
    out.over = True
    assert out.read() is None


def test_a_program_prints_to_the_engine_where_the_pipes_cannot_be_opened() -> None:
    assert not Path(INSIDE).exists()
    words = through_pipes(["echo", "a b"])
    told = subprocess.run(words, capture_output=True, timeout=10, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"a b\n", b"")


def test_the_jobs_user_writes_and_the_agents_group_reads(
    launch: Launch, pipes: tuple[Pipe, ...]
) -> None:
    for name in ("out", "err"):
        found = os.stat(folder(launch) / name)
        assert stat.S_ISFIFO(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o640
        assert f"{found.st_uid}:{found.st_gid}" == launch.details["user"]


def test_an_attempt_that_is_prepared_once_more_keeps_its_pipes(
    launch: Launch, pipes: tuple[Pipe, ...]
) -> None:
    make_pipes(Path(launch.folder), launch.details["user"])
    close_pipes(open_pipes(launch))


def test_a_container_gets_them_read_only_and_the_shell_before_its_command(launch: Launch) -> None:
    body = settings(launch)
    assert body["Entrypoint"] == through_pipes(launch.command)
    pipes = {"Type": "bind", "Source": f"{launch.folder}/pipes", "Target": INSIDE, "ReadOnly": True}
    assert body["HostConfig"]["Mounts"][-1] == pipes
    without = settings(replace(launch, details={**launch.details, "pipes": False}))
    assert without["Entrypoint"] == list(launch.command)
    assert pipes not in without["HostConfig"]["Mounts"]


def test_an_own_command_is_the_images_with_the_jobs_arguments_in_place_of_its_own() -> None:
    image = {"Config": {"Entrypoint": ["train"], "Cmd": ["--slow"]}}
    assert command_of(image, ()) == ("train", "--slow")
    assert command_of(image, ("--fast",)) == ("train", "--fast")
    assert command_of({"Config": {"Entrypoint": None, "Cmd": None}}, ()) == ()
