"""Does what is written stay inside the folder, and go on where it was cut off?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.answers import StokerError
from stoker.outputs import Cut, OutputFile, save

DATA = os.urandom(3_000_000)


def file(path: str, data: bytes = DATA, mode: int = 0o644) -> OutputFile:
    return OutputFile(path, len(data), mode, 1_700_000_000.5, hashlib.sha256(data).hexdigest())


class Source:
    """Gives the data from an offset on, and remembers what was asked for."""

    def __init__(self, data: bytes = DATA, most: int | None = None) -> None:
        self.data = data
        self.most = most
        self.asked: list[int] = []

    def __call__(self, start: int) -> Iterator[bytes]:
        self.asked.append(start)
        yield from (
            self.data[at : at + 4096] for at in range(start, self.most or len(self.data), 4096)
        )


def nothing(_: int) -> None:
    pass


def test_a_file_appears_whole_with_its_time_and_rights(tmp_path: Path) -> None:
    saved = save(tmp_path, file("a/b/model.pt", mode=0o755), Source(), nothing)
    assert saved == tmp_path / "a" / "b" / "model.pt"
    assert saved.read_bytes() == DATA
    assert (saved.stat().st_mtime, saved.stat().st_mode & 0o777) == (1_700_000_000.5, 0o755)
    assert os.listdir(saved.parent) == ["model.pt"]


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    source = Source()
    for _ in range(2):
        save(tmp_path, file("model.pt"), source, nothing)
    assert source.asked == [0]


def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Cut):
        save(tmp_path, file("model.pt"), Source(most=1_000_000), nothing)
    assert not (tmp_path / "model.pt").exists()
    rest = Source()
    told: list[int] = []
    saved = save(tmp_path, file("model.pt"), rest, told.append)
    assert saved.read_bytes() == DATA
    assert rest.asked[0] >= 1_000_000
    assert told[-1] == len(DATA)


def test_another_content_is_fetched_anew(tmp_path: Path) -> None:
    save(tmp_path, file("model.pt"), Source(), nothing)
    other = os.urandom(len(DATA))
    save(tmp_path, file("model.pt", other), Source(other), nothing)
    assert (tmp_path / "model.pt").read_bytes() == other


def test_what_comes_damaged_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(StokerError, match="damaged"):
        save(tmp_path, file("model.pt"), Source(os.urandom(len(DATA))), nothing)
    assert save(tmp_path, file("model.pt"), Source(), nothing).read_bytes() == DATA


@pytest.mark.parametrize(
    "path", ["../up", "/etc/x", "a/../../up", "", "a//b", "./a", "a/..", "..", "a\0b"],
    ids=["up", "root", "deep", "none", "empty", "dot", "end", "parent", "nul"],
)  # fmt: skip
def test_no_name_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(StokerError, match="not a path inside"):
        save(folder, file(path), Source(), nothing)
    assert os.listdir(tmp_path) == ["folder"]


def test_no_link_in_the_folder_leads_out_of_it(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    (folder / "out").symlink_to(elsewhere)
    (folder / "file").symlink_to(elsewhere / "kept")
    with pytest.raises(StokerError, match="no folder of its own"):
        save(folder, file("out/model.pt"), Source(), nothing)
    assert save(folder, file("file"), Source(), nothing).read_bytes() == DATA
    assert not (folder / "file").is_symlink()
    assert (elsewhere / "kept").read_text() == "kept"
    assert os.listdir(elsewhere) == ["kept"]


def test_a_folder_in_a_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.pt").mkdir()
    with pytest.raises(StokerError, match="cannot be written"):
        save(tmp_path, file("model.pt"), Source(), nothing)
