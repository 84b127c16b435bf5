"""Do a tree's files come out as they went in, from what is here and what comes?"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agent.bundle_trees import batches, piece_places
from agent.tree_files import Laid, Near, TreeWriter
from agent.unpack import BadArchive
from schemas.tree import Tree, read_tree
from tests.unit.trees import tree_of


def laid(tree: Tree, pieces: dict[bytes, bytes], near: Near, into: Path) -> int:
    """How many pieces were not here."""
    into.mkdir()
    writer, came = TreeWriter(tree, into), 0
    writer.link(near)
    places = list(piece_places(tree))
    for batch in batches(tree, writer.needed()):
        for number in batch:
            digest = tree.piece(number)[0]
            data = near.piece(digest)
            if data is None:
                data, came = pieces[digest], came + 1
            writer.write(places[number], data)
    writer.finish()
    writer.close()
    return came


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("seed", range(40))
def test_a_tree_is_laid_out_and_the_next_one_takes_over_what_is_the_same(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    sizes = [0, 0, 5, 100, 3000, 20_000]
    files = {
        f"{chance.choice('abc')}/{n}": chance.randbytes(chance.choice(sizes))
        for n in range(chance.randint(1, 12))
    }
    tree, pieces = tree_of(files, chance.randint(1, 5000))
    assert read_tree(tree.pack()) == tree
    laid(tree, pieces, Near(), tmp_path / "1")
    assert contents(tmp_path / "1") == files

    changed = {**files, chance.choice(list(files)): chance.randbytes(50), "new": b""}
    second, others = tree_of(changed, chance.randint(1, 5000))
    laid(second, others, Near([Laid(tree, tmp_path / "1")]), tmp_path / "2")
    assert contents(tmp_path / "2") == changed

    both = Near([Laid(second, tmp_path / "2"), Laid(tree, tmp_path / "1")])
    assert laid(tree, {}, both, tmp_path / "3") == 0
    assert contents(tmp_path / "3") == files


def test_bytes_that_are_not_the_files_are_refused(tmp_path: Path) -> None:
    tree, pieces = tree_of({"main.py": b"print(1)"})
    lying = {digest: b"print(2)" for digest in pieces}
    with pytest.raises(BadArchive, match=r"main\.py is not what"):
        laid(tree, lying, Near(), tmp_path / "1")


def test_a_piece_that_is_not_here_any_more_is_fetched(tmp_path: Path) -> None:
    tree, pieces = tree_of({"main.py": b"print(1)", "x": b"data" * 1000}, 100)
    laid(tree, pieces, Near(), tmp_path / "1")
    (tmp_path / "1" / "x").write_bytes(b"damaged")
    near = Near([Laid(tree, tmp_path / "1")])
    other, more = tree_of({"main.py": b"print(2)", "x": b"data" * 1000, "y": b"1"}, 100)
    near._files.clear()  # as where nothing can be linked
    assert laid(other, {**pieces, **more}, near, tmp_path / "2") > 0
    assert contents(tmp_path / "2")["x"] == b"data" * 1000
