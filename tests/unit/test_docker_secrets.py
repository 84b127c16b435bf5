"""The script by which a container's shell gets secrets, run by the shells of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.handing import Secrets
from agent.runtimes import docker_secrets
from agent.runtimes.docker_container import settings
from agent.runtimes.docker_pipes import through_pipes
from agent.runtimes.docker_secrets import PLACE, script, through_shell
from agent.runtimes.protocol import Launch

EVERY_BYTE = bytes(range(256))
AWKWARD = b"it's $HOME `id` \\ \"two\"\nlines\t\xff\xfe%s\\0101 'end'\n"
SHELLS = [
    pytest.param([path], id=name) for name in ("dash", "bash") if (path := shutil.which(name))
]
if busybox := shutil.which("busybox"):
    SHELLS.append(pytest.param([busybox, "sh"], id="busybox"))
READ = "import os, sys; sys.stdout.buffer.write(os.environb[b'A'] + b'|' + sys.stdin.buffer.read())"


def run(shell: list[str], secrets: Secrets, *command: str) -> subprocess.CompletedProcess[bytes]:
    words = [*shell, *through_shell(command)[1:]]
    return subprocess.run(words, input=script(secrets), capture_output=True, timeout=20, check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_variable_holds_every_byte_and_the_program_an_empty_input(shell: list[str]) -> None:
    given = Secrets({"A": AWKWARD}, {"A": "A"})
    assert run(shell, given, sys.executable, "-c", READ).stdout == AWKWARD + b"|"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_file_holds_every_byte_and_is_its_users_alone(
    shell: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    run(shell, Secrets({"K": EVERY_BYTE * 40}, {}, {str(path): "K"}), "true")
    assert path.read_bytes() == EVERY_BYTE * 40
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("shell", SHELLS)
def test_a_program_that_is_not_there_ends_as_without_secrets(shell: list[str]) -> None:
    words = [*shell, *through_shell(["no-such-program"])[1:]]
    given = script(Secrets({"A": b"x"}, {"A": "A"}))
    told = subprocess.run(words, input=given, capture_output=True, timeout=20, check=False)
    assert told.returncode == 127


def test_what_the_engine_is_told_holds_no_value() -> None:
    details = {"image": "sha256:1", "user": "10001:10001", "secret_files": True, "pipes": True}
    launch = Launch("docker", "j", 1, "w", "/w/a/j.1", ("python", "m.py"), {}, details=details)
    body = settings(replace(launch, secrets=True))
    assert body["Entrypoint"] == through_shell(through_pipes(["python", "m.py"]))
    assert (body["OpenStdin"], body["StdinOnce"]) == (True, True)
    assert "uid=10001,gid=10001" in body["HostConfig"]["Tmpfs"][PLACE]
    assert "OpenStdin" not in settings(launch)


def test_the_longest_secrets_fit() -> None:
    most = Secrets({f"S{n}": os.urandom(64 << 10) for n in range(32)}, {}, {})
    from agent.handing import MOST

    assert len(most.pack()) < MOST
    assert docker_secrets.PLACE_BYTES == "4m"
