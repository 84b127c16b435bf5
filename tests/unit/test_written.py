"""Tests of what a program has written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from agent.written import MOST_FILES, Watch, Written, too_much, written

MEBIBYTE = 1 << 20


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))


def test_all_that_lies_in_the_folders_counts(tmp_path: Path) -> None:
    fill(tmp_path / "one" / "deep" / "a", MEBIBYTE)
    fill(tmp_path / "two" / "b", MEBIBYTE)
    found = written((tmp_path / "one", tmp_path / "two"))
    assert 2 * MEBIBYTE <= found.size < 2.1 * MEBIBYTE
    assert found.files == 3


def test_links_lead_nowhere_and_a_file_of_two_names_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere" / "big", 4 * MEBIBYTE)
    fill(tmp_path / "own" / "a", MEBIBYTE)
    os.link(tmp_path / "own" / "a", tmp_path / "own" / "b")
    os.symlink(tmp_path / "elsewhere", tmp_path / "own" / "link")
    os.symlink(tmp_path / "elsewhere" / "big", tmp_path / "own" / "file")
    assert written((tmp_path / "own",)).size < 1.1 * MEBIBYTE


def test_a_file_of_holes_counts_what_it_takes(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert written((tmp_path,)).size < MEBIBYTE


def test_it_stops_where_it_knows_enough(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).touch()
    assert written((tmp_path,), most_files=10).files == 11


def test_a_folder_that_is_gone_counts_nothing(tmp_path: Path) -> None:
    assert written((tmp_path / "gone",)) == Written()


def test_a_folder_that_lets_nobody_in_is_told(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    if os.geteuid() == 0:  # Nothing is closed to root, so somebody else looks.
        os.chmod(tmp_path, 0o755)
        found = as_nobody(tmp_path)
    else:
        found = written((tmp_path,)).locked
    assert found == "closed"


def as_nobody(folder: Path) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.chdir(folder)  # those above it are closed to others
        os.setgid(65534)
        os.setuid(65534)
        os.write(writer, written((Path("."),)).locked.encode() or b"-")
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(reader, 100).decode()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Written(10 * MEBIBYTE, 5), ""),
        (Written(10 * MEBIBYTE + 1, 5), "more than the 10 MiB of disk"),
        (Written(0, MOST_FILES + 1), "files"),
        (Written(0, 1, "secret"), "secret"),
    ],
)
def test_what_is_too_much(found: Written, words: str) -> None:
    told = too_much(found, 10 * MEBIBYTE)
    assert words in told
    assert bool(told) == bool(words)


def test_a_watch_tells_once_what_went_too_far(tmp_path: Path) -> None:
    told: list[str] = []
    heard = threading.Event()

    def hear(words: str) -> None:
        told.append(words)
        heard.set()

    watch = Watch((tmp_path,), MEBIBYTE, hear)
    fill(tmp_path / "big", 2 * MEBIBYTE)
    watch.start()
    assert heard.wait(10)
    watch.stop()
    assert told == ["it wrote more than the 1 MiB of disk that it may use"]
