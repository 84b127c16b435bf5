"""Which commit is a folder at, and has it changed since?

The commit and the branch are read from ``.git`` itself. Only git can tell whether something
changed: it is asked for a few seconds at most, and not believed where it fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

GIT_SECONDS = 5.0
BRANCH_LENGTH = 255
SMALL = 4096
"""Bytes of a file of ``.git`` that names something."""
PACKED_BYTES = 16 << 20
"""Of ``packed-refs``; in a larger one nothing is looked for."""
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LINKS_MOST = 5
STATUS = ("status", "--porcelain", "--untracked-files=normal", "--", ".")


def source_of(folder: Path) -> dict[str, Any] | None:
    """As the spec takes it; None for what is in no git repository, or has no commit yet."""
    try:
        git = git_folder(folder.resolve())
        if git is None:
            return None
        name = read_small(git / "HEAD")
        commit = commit_of(git, common_folder(git), name)
    except (OSError, ValueError):
        return None
    if commit is None:
        return None
    branch = name.removeprefix("ref: refs/heads/") if name.startswith("ref: ") else ""
    if len(branch) > BRANCH_LENGTH or not branch.isprintable():
        branch = ""
    return {"commit": commit, "branch": branch, "dirty": dirty(folder)}


def git_folder(folder: Path) -> Path | None:
    """The repository's own folder: of the nearest folder above that has one."""
    for place in (folder, *folder.parents):
        git = place / ".git"
        if git.is_dir():
            return git
        if git.is_file():  # a worktree, or a submodule
            return (place / read_small(git).removeprefix("gitdir: ")).resolve()
    return None


def common_folder(git: Path) -> Path:
    """Where a worktree's branches are."""
    common = git / "commondir"
    return (git / read_small(common)).resolve() if common.is_file() else git


def commit_of(git: Path, common: Path, text: str) -> str | None:
    for _ in range(LINKS_MOST):
        if COMMIT.fullmatch(text):
            return text
        name = text.removeprefix("ref: ")
        if name == text or not name.startswith("refs/") or ".." in name.split("/"):
            return None
        found = next((root / name for root in (git, common) if (root / name).is_file()), None)
        if found is None:
            return packed(common / "packed-refs", name)
        text = read_small(found)
    return None


def packed(path: Path, name: str) -> str | None:
    if not path.is_file() or path.stat().st_size > PACKED_BYTES:
        return None
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            commit, _, named = line.rstrip("\n").partition(" ")
            if named == name and COMMIT.fullmatch(commit):
                return commit
    return None


def read_small(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(SMALL).decode().strip()


def dirty(folder: Path) -> bool | None:
    """Whether git names one file that is changed or new; None where it is not there or too slow."""
    # The first byte says it: a folder with a million new files makes a long list.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *STATUS]
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        asked = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables,
        )
    except OSError:
        return None
    late = threading.Timer(GIT_SECONDS, asked.kill)
    late.start()
    try:
        assert asked.stdout is not None
        if asked.stdout.read(1):
            return True
        return False if asked.wait() == 0 else None
    finally:
        late.cancel()
        with contextlib.suppress(OSError):
            asked.kill()
        asked.communicate()
