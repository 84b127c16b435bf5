"""What is found in a folder that a stranger filled, and what is left out?"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent.output_scan import FILE, Scan, opened, scan


def found(root: Path, most: int = 1000) -> Scan:
    return scan(str(root), most)


def paths(result: Scan) -> list[str]:
    return sorted(one.path for one in result.files)


def why(result: Scan) -> dict[str, str]:
    return {note.path: note.why for note in result.notes}


def test_files_are_found_at_every_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "model.pt").write_bytes(b"12345")
    (tmp_path / "loss.csv").write_text("1,2\n")
    result = found(tmp_path)
    assert paths(result) == ["a/b/model.pt", "loss.csv"]
    assert {one.path: one.size for one in result.files} == {"a/b/model.pt": 5, "loss.csv": 4}
    assert not result.notes


def test_there_need_be_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("nothing", "file", "link"):
        assert not found(tmp_path / name).files


def test_what_is_no_file_is_left_out_and_told(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    root.mkdir()
    (tmp_path / "secret").write_text("of the machine")
    (root / "out").symlink_to("../secret")
    (root / "all").symlink_to("/")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        place = os.getcwd()
        os.chdir(root)
        listening.bind("socket")
        os.chdir(place)
    result = found(root)
    assert not result.files
    assert why(result) == {
        "out": "a link to ../secret: links are not kept",
        "all": "a link to /: links are not kept",
        "fifo": "a FIFO, not a file",
        "socket": "a socket, not a file",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are made by root")
def test_a_device_is_not_read(tmp_path: Path) -> None:
    os.mknod(tmp_path / "zero", 0o600 | 0o020000, os.makedev(1, 5))
    result = found(tmp_path)
    assert (paths(result), why(result)) == ([], {"zero": "a device, not a file"})


def test_a_name_that_is_not_utf_8_is_shown_and_left_out(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9", "w"):
        pass
    assert why(found(tmp_path)) == {"caf\\xe9": "its name is not UTF-8"}


def test_beyond_what_is_named_files_are_counted(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}").touch()
    result = found(tmp_path, most=10)
    assert (len(result.files), result.more, result.endless) == (10, 20, False)


def test_what_is_left_out_is_named_so_often_and_then_counted(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}").symlink_to("/etc/passwd")
    result = found(tmp_path)
    assert (len(result.notes), result.left_out) == (200, 300)


def test_folders_within_folders_come_to_an_end(tmp_path: Path) -> None:
    place = tmp_path
    for _ in range(80):
        place = place / "d"
        place.mkdir()
    (place / "file").touch()
    result = found(tmp_path)
    assert not result.files
    assert "deeper than 64 folders" in result.notes[0].why


def test_a_sparse_file_counts_as_long_as_it_says(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    assert found(tmp_path).files[0].size == 1 << 40


def test_nothing_is_opened_through_a_link(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    (root / "a").mkdir(parents=True)
    (root / "a" / "file").write_text("mine")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("not mine")
    with opened(str(root), "a/file") as file:
        assert os.read(file, 10) == b"mine"
    (root / "a").rename(root / "b")
    (root / "a").symlink_to(tmp_path / "secret")
    (root / "link").symlink_to(tmp_path / "secret" / "file")
    for path in ("a/file", "link"):
        with pytest.raises(OSError, match=path.partition("/")[0]), opened(str(root), path):
            pass


def test_a_fifo_in_a_files_place_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model")
    assert FILE & os.O_NONBLOCK
    with pytest.raises(FileNotFoundError), opened(str(tmp_path), "model"):
        pass
