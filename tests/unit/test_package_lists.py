"""What is installed in an environment, and how is the list of it kept?"""

from __future__ import annotations

import subprocess
import sys
import venv
import zlib
from pathlib import Path

import pytest

from agent.runtimes import process_build
from agent.runtimes.choice import CONDA, REQUIREMENTS, UV_LOCK, Choice
from agent.runtimes.listing import LIST
from agent.runtimes.process_build import NO_CONDA, Interpreter, build_commands, home_of
from agent.runtimes.protocol import CannotPrepare
from schemas.job import Attempt, Environment, Record, State
from schemas.packages import CUT, MOST_BYTES, BadPackages, bounded, packed, unpacked
from schemas.spec import JobSpec
from stoker.made_of import packages_line
from ui.api.packages import digest_of as list_digest

DIRECT = {
    "by-url": '{"url": "https://user:secret@example.org/x.whl", "archive_info": {}}',
    "by-git": '{"url": "https://example.org/x.git",'
    ' "vcs_info": {"vcs": "git", "commit_id": "0123"}}',
}


def test_a_python_tells_its_packages_as_pip_freeze_would(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    packages = next((tmp_path / "env" / "lib").glob("python3*")) / "site-packages"
    for name in ("Some_Thing", "another", *DIRECT):
        info = packages / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        if name in DIRECT:
            (info / "direct_url.json").write_text(DIRECT[name])
    (packages / "torn-1.dist-info").mkdir()
    (tmp_path / "env" / "conda-meta").mkdir()
    (tmp_path / "env" / "conda-meta" / "zlib-1.3-h0.json").write_text("{}")
    python = str(tmp_path / "env" / "bin" / "python")
    said = subprocess.run([python, "-c", LIST], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [
        "another==1.0",
        "by-git @ git+https://example.org/x.git@0123",
        "by-url @ https://example.org/x.whl",
        "Some_Thing==1.0",
        "# conda: zlib-1.3-h0",
    ]
    assert said.stderr == ""


def test_a_list_is_cut_at_whole_lines_and_comes_back_as_it_was() -> None:
    text = "".join(f"package-{number}==1.0\n" for number in range(40_000))
    kept = bounded(text)
    assert len(kept.encode()) <= MOST_BYTES
    assert kept.endswith(f"==1.0\n{CUT}\n")
    assert unpacked(packed(kept)) == kept
    assert bounded("six==1.17.0\n") == "six==1.17.0\n"


@pytest.mark.parametrize(
    "data",
    [b"", b"no zlib", packed("six")[:-2], zlib.compress(bytes(64 << 20)), zlib.compress(b"\xff")],
    ids=["empty", "other", "torn", "bomb", "not-text"],
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(BadPackages):
        unpacked(data)


def test_the_command_shows_a_few_of_many() -> None:
    assert packages_line(("a==1", "b==2")) == "a==1, b==2"
    assert packages_line([f"p{number}==1" for number in range(9)]).endswith("and 3 more (--json)")


def test_the_list_is_that_of_an_attempt_or_of_the_newest_that_told_one() -> None:
    def attempt(number: int, packages: str | None) -> Attempt:
        made = Environment(source="python", base="b", key="k", packages=packages or "")
        environment = made if packages is not None else None
        return Attempt(
            number=number, worker="w", claim="c", nonce="n", granted_at=1.0, environment=environment
        )

    record = Record(
        id="j", owner="me", spec=JobSpec(), bundle="b", state=State.RUNNING, submitted_at=1.0,
        changed_at=1.0, attempt=4,
        attempts=(attempt(1, "one"), attempt(2, "two"), attempt(3, ""), attempt(4, None)),
    )  # fmt: skip
    asked = [list_digest(record, number) for number in (0, 1, 2, 3, 4, 9)]
    assert asked == ["two", "one", "two", "", "", ""]


INTERPRETER = Interpreter(sys.executable, "3.12", "3.12")


def test_a_lock_is_installed_by_uv_and_nothing_but_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Choice(UV_LOCK, "", {UV_LOCK: b"", "pyproject.toml": b""})
    monkeypatch.setattr(process_build, "found_uv", lambda: None)
    names = [command.name for command in build_commands(tmp_path, INTERPRETER, lock)]
    assert names == ["venv", "pip", "uv"]
    monkeypatch.setattr(process_build, "found_uv", lambda: str(tmp_path / "uv"))
    commands = build_commands(tmp_path, INTERPRETER, lock)
    assert [command.name for command in commands] == ["venv", "uv"]
    assert "--frozen" in commands[-1].words
    plain = build_commands(tmp_path, INTERPRETER, Choice(REQUIREMENTS, "", {REQUIREMENTS: b"six"}))
    assert plain[-1].words[-2:] == ["-r", REQUIREMENTS]


def test_an_environment_yml_needs_micromamba_and_keeps_the_asked_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Choice(CONDA, "", {CONDA: b""})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CannotPrepare, match="has no micromamba"):
        build_commands(tmp_path, INTERPRETER, asked)
    assert "requirements.txt" in NO_CONDA
    (tmp_path / "micromamba").write_text("#!/bin/sh\n")
    (tmp_path / "micromamba").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    made, check = build_commands(tmp_path, INTERPRETER, asked)
    assert made.words[-2:] == ["--file", CONDA]
    assert check.words[0] == str(tmp_path / "env" / "bin" / "python")
    wrong = check.words[-1].replace("'3.12'", "'3.99'")
    said = subprocess.run([sys.executable, "-c", wrong], capture_output=True, text=True)
    assert said.returncode == 1
    assert said.stderr.startswith("ERROR: the job asks for Python")
    assert home_of(tmp_path) == tmp_path
    (tmp_path / "env").mkdir()
    assert home_of(tmp_path) == tmp_path / "env"
