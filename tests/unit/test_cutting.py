"""Does a folder that hardly changed have hardly any new pieces?"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from schemas.tree import read_tree
from stoker import cut_memory
from stoker.cut_memory import Memory
from stoker.cutting import BIG, MOST, Cut, cut_bytes, cut_files
from stoker.packing import PackingError, plan, without_top

BIG_DATA = random.Random(5).randbytes(6 << 20)


def written(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def cut(folder: Path, memory: Memory | None = None) -> Cut:
    return cut_files(plan(folder).files, memory)


def new_pieces(before: Cut, after: Cut) -> int:
    return len({*after.each_piece()} - {*before.each_piece()})


def test_what_is_packed_is_a_tree_as_the_server_reads_it(tmp_path: Path) -> None:
    made = cut(written(tmp_path, {"main.py": b"print(1)", "d/big": BIG_DATA, "d/empty": b""}))
    tree = read_tree(made.pack())
    assert (tree.id, tree.size) == (made.id, made.size)
    assert [file.path for file in tree.files] == ["d/big", "d/empty", "main.py"]
    assert all(0 < size <= MOST for _, size in tree.each_piece())


def test_every_piece_is_read_back_from_the_files(tmp_path: Path) -> None:
    files = {"a": b"x" * 1000, "b": BIG_DATA, "c": b"", "d": b"y" * (BIG - 1), "e": BIG_DATA[:BIG]}
    made, at, row = cut(written(tmp_path, files)), 0, b""
    for digest, size in made.each_piece():
        row += made.read(at, size, digest)
        at += size
    assert row == b"".join(files.values())


@pytest.mark.parametrize("place", [0, 3 << 20, 6 << 20], ids=["front", "middle", "end"])
def test_bytes_put_into_a_big_file_make_few_new_pieces(tmp_path: Path, place: int) -> None:
    before = cut(written(tmp_path, {"big": BIG_DATA}))
    after = cut(written(tmp_path, {"big": BIG_DATA[:place] + b"new" + BIG_DATA[place:]}))
    assert len(list(before.each_piece())) > 12
    assert 1 <= new_pieces(before, after) <= 3


def test_many_small_files_are_few_pieces_and_a_change_touches_few(tmp_path: Path) -> None:
    files = {f"d{n % 7}/{n:04}": f"{n}\n".encode() * (n % 300) for n in range(3000)}
    before = cut(written(tmp_path, files))
    assert len(list(before.each_piece())) < 40
    after = cut(written(tmp_path, {"d3/0003": b"another\n", "d3/9999": b"new"}))
    assert 1 <= new_pieces(before, after) <= 4


def test_a_file_that_changes_while_it_is_sent_is_told_by_name(tmp_path: Path) -> None:
    made = cut(written(tmp_path, {"a": b"1", "b": BIG_DATA}))
    (tmp_path / "b").write_bytes(BIG_DATA[::-1])
    at = 1
    digest, size = list(made.each_piece())[1]
    with pytest.raises(PackingError, match="b changed while it was sent"):
        made.read(at, size, digest)


def test_what_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut_memory, "SETTLED", -60.0)
    folder = written(tmp_path / "job", {"main.py": b"1", "big": BIG_DATA, "other": BIG_DATA[:BIG]})
    file = tmp_path / "cuts" / "one.cut"
    memory = Memory(file)
    first = cut(folder, memory)
    memory.save()
    assert file.stat().st_mode & 0o777 == 0o600
    again = Memory(file)
    monkeypatch.setattr(again, "note", lambda path, status, known: pytest.fail(f"read {path}"))
    assert cut(folder, again).pack() == first.pack()


def test_a_file_that_changed_is_read_again_though_its_size_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut_memory, "SETTLED", -60.0)
    folder = written(tmp_path / "job", {"big": BIG_DATA})
    memory = Memory()
    first = cut(folder, memory)
    status = (folder / "big").stat()
    (folder / "big").write_bytes(BIG_DATA[::-1])
    os.utime(folder / "big", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cut(folder, memory).id != first.id


def test_a_file_that_was_written_just_now_is_not_remembered(tmp_path: Path) -> None:
    folder, file = written(tmp_path / "job", {"big": BIG_DATA}), tmp_path / "one.cut"
    memory = Memory(file)
    cut(folder, memory)
    memory.save()
    assert not file.exists()


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01\x91\x01", b"\x92\x09\x90"])
def test_a_memory_that_cannot_be_read_is_none(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "one.cut"
    file.write_bytes(data)
    assert cut(written(tmp_path / "job", {"a": BIG_DATA}), Memory(file)).size == len(BIG_DATA)


def test_what_is_no_file_is_cut_too() -> None:
    assert b"".join(cut_bytes(BIG_DATA)) == BIG_DATA
    assert cut_bytes(b"small") == [b"small"]


def test_the_one_folder_around_everything_is_taken_off(tmp_path: Path) -> None:
    files, top = without_top(plan(written(tmp_path, {"p/main.py": b"", "p/d/x": b""})).files)
    assert ([file.name for file in files], top) == (["d/x", "main.py"], "p")
    files, top = without_top(plan(written(tmp_path, {"q": b""})).files)
    assert ([file.name for file in files], top) == (["p/d/x", "p/main.py", "q"], "")
