"""Is a packed tree believed exactly where it is one?"""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from schemas.tree import PIECE, PIECE_BYTES, Tree, TreeFile, read_tree
from services.upload.bundle import inspect
from services.upload.config import UploadConfig
from tests.unit.trees import tree_of
from tests.unit.zips import File, build

FILES = {"a/b.txt": b"hello", "empty": b"", "main.py": b"print(1)\n" * 9}
GOOD, PIECES = tree_of(FILES, 20)
DIGEST = "0" * 64


def packed(manifest: str, pieces: bytes = b"") -> bytes:
    data = manifest.encode("utf-8", "surrogatepass")
    return b"stoker-tree 1 %d %d\n%b%b" % (len(data), len(pieces) // PIECE.size, data, pieces)


def line(path: str, size: str = "0", mode: str = "644", digest: str = DIGEST) -> str:
    return f"{path}\0{mode}\0{size}\0{digest}\n"


def test_a_tree_is_read_as_it_was_packed() -> None:
    assert read_tree(GOOD.pack()) == GOOD
    assert (GOOD.size, GOOD.count) == (86, 5)


def test_its_id_is_that_of_a_zip_with_the_same_files() -> None:
    zipped = build(*(File(name=name.encode(), data=data) for name, data in FILES.items()))
    assert inspect(io.BytesIO(zipped), len(zipped), UploadConfig()).digest == GOOD.id


def test_a_file_is_found_in_its_pieces() -> None:
    for name, data in FILES.items():
        spans = GOOD.span(name)
        found = b"".join(PIECES[GOOD.piece(n)[0]][start:stop] for n, start, stop in spans)
        assert found == data
    with pytest.raises(KeyError):
        GOOD.span("nothing")


LIES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "another beginning": lambda: b"x" + GOOD.pack(),
    "cut off": lambda: GOOD.pack()[:-1],
    "too long": lambda: GOOD.pack() + b"x",
    "a length with a sign": lambda: GOOD.pack().replace(b"tree 1 ", b"tree 1 +", 1),
    "a path outside": lambda: packed(line("../x")),
    "an absolute path": lambda: packed(line("/x")),
    "a dot in it": lambda: packed(line("a/./b")),
    "no path": lambda: packed(line("")),
    "a path twice": lambda: packed(line("a") * 2),
    "a wrong order": lambda: packed(line("b") + line("a")),
    "a file that is a folder": lambda: packed(line("a") + line("a/b")),
    "another mode": lambda: packed(line("a", mode="777")),
    "a negative size": lambda: packed(line("a", "-1")),
    "a size with a zero in front": lambda: packed(line("a", "01")),
    "a digest of other digits": lambda: packed(line("a", digest="g" * 64)),
    "a name that is not UTF-8": lambda: packed(line("a\udcff")),
    "a line without an end": lambda: packed(line("a")[:-1]),
    "a path that is too long": lambda: packed(line("a" * 4097)),
    "fewer bytes than its files": lambda: packed(line("a", "9"), PIECE.pack(bytes(32), 8)),
    "more bytes than its files": lambda: packed(line("a", "9"), PIECE.pack(bytes(32), 10)),
    "an empty piece": lambda: packed(line("a"), PIECE.pack(bytes(32), 0)),
    "a piece that is too large": lambda: packed(
        line("a", str(PIECE_BYTES + 1)), PIECE.pack(bytes(32), PIECE_BYTES + 1)
    ),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES.keys())
def test_a_tree_that_lies_is_refused(data: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_tree(data())


def test_a_hundred_thousand_tiny_files_are_read() -> None:
    files = tuple(TreeFile(f"d/{n:06}", 0o644, 0, DIGEST) for n in range(100_000))
    assert len(read_tree(Tree(files, b"").pack()).files) == 100_000
