"""Does the command tell the commit that a folder is at?"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from schemas.source import Source
from stoker import source as module
from stoker.source import source_of


def git(folder: Path, *words: str) -> str:
    settings = ("user.name=a", "user.email=a@example.org", "init.defaultBranch=main")
    flags = [part for setting in settings for part in ("-c", setting)]
    command = ["git", *flags, "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "main.py").write_text("print(1)\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "begin")
    return folder


def told(folder: Path) -> Source:
    found = source_of(folder)
    assert found is not None
    return Source.model_validate(found)


def test_a_clean_folder_has_commit_and_branch(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert told(repository) == Source(commit=head, branch="main", dirty=False)


@pytest.mark.parametrize("name", ["main.py", "new.py"])
def test_a_changed_or_a_new_file_makes_it_dirty(repository: Path, name: str) -> None:
    (repository / "code" / name).write_text("print(2)\n")
    assert told(repository / "code").dirty is True


def test_what_changed_beside_the_folder_does_not_count(repository: Path) -> None:
    (repository / "other.py").write_text("")
    assert told(repository / "code").dirty is False
    assert told(repository).dirty is True


def test_packed_branches_are_found(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert told(repository).commit == head


def test_a_commit_without_a_branch_is_told(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert told(repository).branch == ""


def test_a_worktree_has_its_own_branch(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", "-b", "topic/one", str(tmp_path / "tree"))
    assert told(tmp_path / "tree").branch == "topic/one"


def test_without_git_the_commit_is_told_and_dirt_unknown(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert told(repository).dirty is None


def test_a_git_that_hangs_is_given_up(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    monkeypatch.setattr(module, "GIT_SECONDS", 0.1)
    assert told(repository).dirty is None


@pytest.mark.parametrize(
    "head", ["", "ref: refs/heads/none", "ref: refs/../../secret", "zz", "\xff"], ids=ascii
)
def test_a_broken_repository_is_none(repository: Path, head: str) -> None:
    (repository / ".git" / "HEAD").write_bytes(head.encode("latin-1"))
    assert source_of(repository) is None


def test_a_plain_folder_has_none(tmp_path: Path) -> None:
    assert source_of(tmp_path) is None
