"""Pieces become files again, whatever their borders, and a fetch that was cut off goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.data_writer import Damaged, Writer, spans
from schemas.datasets import ANSWER_BYTES, PIECES_MOST
from schemas.tree import PIECE, Tree
from tests.integration.data_tools import tree_of

FILES = {
    "a/empty": b"",
    "a/first": b"1" * 2500,
    "b": b"",
    "c.sh": b"2" * 499,
    "d/e/f": b"3" * 1001,
    "z": b"",
}


def read_back(folder: Path) -> dict[str, bytes]:
    found = (one for one in folder.rglob("*") if one.is_file())
    return {str(one.relative_to(folder)): one.read_bytes() for one in found}


def written(folder: Path, tree: Tree, pieces: list[bytes]) -> Writer:
    writer = Writer(tree, folder, folder.parent / "pieces")
    writer.add(pieces)
    writer.close()
    return writer


@pytest.mark.parametrize("piece", [1, 7, 500, 1000, 4000, 10_000])
def test_files_are_what_they_were(tmp_path: Path, piece: int) -> None:
    tree, pieces = tree_of(FILES, piece)
    folder = tmp_path / "files"
    folder.mkdir()
    writer = written(folder, tree, pieces)
    writer.finish()
    assert read_back(folder) == FILES
    assert (folder / "c.sh").stat().st_mode & 0o777 == 0o555
    assert (folder / "d/e/f").stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("cut", range(9))
def test_a_fetch_that_was_cut_off_goes_on_behind_the_last_whole_piece(
    tmp_path: Path, cut: int
) -> None:
    tree, pieces = tree_of(FILES, 500)
    folder = tmp_path / "files"
    folder.mkdir()
    written(folder, tree, pieces[:cut])
    writer = Writer(tree, folder, tmp_path / "pieces")
    assert (writer.next, writer.written) == (cut, sum(map(len, pieces[:cut])))
    writer.add(pieces[cut:])
    writer.finish()
    writer.close()
    assert read_back(folder) == FILES


def test_what_is_there_no_more_is_fetched_anew(tmp_path: Path) -> None:
    tree, pieces = tree_of(FILES, 500)
    folder = tmp_path / "files"
    folder.mkdir()
    written(folder, tree, pieces[:7])
    (folder / "a/first").unlink()
    assert Writer(tree, folder, tmp_path / "pieces").next == 0
    (tmp_path / "pieces").write_text("of another world")
    assert Writer(tree, folder, tmp_path / "pieces").next == 0


def test_a_piece_that_is_another_one_is_not_written(tmp_path: Path) -> None:
    tree, pieces = tree_of(FILES, 500)
    folder = tmp_path / "files"
    folder.mkdir()
    writer = Writer(tree, folder, tmp_path / "pieces")
    with pytest.raises(Damaged, match="piece 1 of 8"):
        writer.add([pieces[0], b"x" * 500])
    with pytest.raises(Damaged):
        writer.finish()
    writer.close()
    assert writer.next == 1


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    tree, pieces = tree_of({"a": b"1" * 10})
    folder, other = tmp_path / "files", tmp_path / "other"
    folder.mkdir()
    other.write_bytes(b"mine")
    os.symlink(other, folder / "a")
    written(folder, tree, pieces)
    assert (other.read_bytes(), (folder / "a").read_bytes()) == (b"mine", b"1" * 10)


def test_as_many_pieces_are_asked_for_as_fit_into_one_answer() -> None:
    big = Tree((), b"".join(PIECE.pack(bytes(32), 500_000) for _ in range(3)))
    assert [(one.first, one.count) for one in spans(big, 0)] == [(0, 1), (1, 1), (2, 1)]
    small = Tree((), b"".join(PIECE.pack(bytes(32), 1) for _ in range(PIECES_MOST + 2)))
    assert [(one.first, one.count) for one in spans(small, 1)] == [(1, PIECES_MOST), (65, 1)]
    half = Tree((), b"".join(PIECE.pack(bytes(32), ANSWER_BYTES // 2) for _ in range(4)))
    assert [(one.first, one.count) for one in spans(half, 0)] == [(0, 2), (2, 2)]
    assert list(spans(half, 4)) == []
