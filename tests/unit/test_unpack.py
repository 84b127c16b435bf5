"""A bundle's archive becomes its files, or nothing that could do harm."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from agent.unpack import BadArchive, copy_tree, unpack


def archive(tmp_path: Path, members: dict[str, bytes], **info: object) -> tuple[Path, str]:
    packed = io.BytesIO()
    manifest = hashlib.sha256()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            header.mode = 0o755 if name.endswith(".sh") else 0o644
            for key, value in info.items():
                setattr(header, key, value)
            tar.addfile(header, io.BytesIO(data))
            line = f"{name}\0{header.mode:o}\0{len(data)}\0{hashlib.sha256(data).hexdigest()}\n"
            manifest.update(line.encode())
    path = tmp_path / "archive"
    path.write_bytes(zstandard.compress(packed.getvalue()))
    return path, manifest.hexdigest()


def test_files_and_modes_are_those_of_the_bundle(tmp_path: Path) -> None:
    packed, digest = archive(tmp_path, {"main.py": b"print(1)", "bin/run.sh": b"#!", "a/b/c": b""})
    assert unpack(packed, tmp_path / "into", digest, 1000) == 10
    assert (tmp_path / "into/main.py").read_bytes() == b"print(1)"
    assert (tmp_path / "into/bin/run.sh").stat().st_mode & 0o777 == 0o755


def test_a_copy_is_the_attempts_own(tmp_path: Path) -> None:
    packed, digest = archive(tmp_path, {"main.py": b"print(1)", "bin/run.sh": b"x" * (3 << 20)})
    unpack(packed, tmp_path / "into", digest, 4 << 20)
    copy_tree(str(tmp_path / "into"), str(tmp_path / "copy"))
    (tmp_path / "copy/main.py").write_text("changed")
    assert (tmp_path / "into/main.py").read_bytes() == b"print(1)"
    assert (tmp_path / "copy/bin/run.sh").stat().st_size == 3 << 20
    assert (tmp_path / "copy/bin/run.sh").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    packed, digest = archive(tmp_path, {name: b"x"})
    with pytest.raises(BadArchive):
        unpack(packed, tmp_path / "into", digest, 1000)
    assert not (tmp_path / "out").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    packed, digest = archive(tmp_path, {"a": b""}, type=tarfile.SYMTYPE, linkname="/etc")
    with pytest.raises(BadArchive):
        unpack(packed, tmp_path / "into", digest, 1000)


def test_more_than_the_record_says_is_refused(tmp_path: Path) -> None:
    packed, digest = archive(tmp_path, {"a": b"x" * 2000})
    with pytest.raises(BadArchive, match="larger"):
        unpack(packed, tmp_path / "into", digest, 1000)


def test_another_bundle_is_refused(tmp_path: Path) -> None:
    packed, _ = archive(tmp_path, {"main.py": b"print(2)"})
    with pytest.raises(BadArchive, match="not the one"):
        unpack(packed, tmp_path / "into", "0" * 64, 1000)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    packed, digest = archive(tmp_path, {"main.py": b"print(1)" * 100})
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(BadArchive):
        unpack(packed, tmp_path / "into", digest, 10_000)
