"""Which manifests of outputs are believed?"""

from __future__ import annotations

import hashlib

import msgpack
import pytest

from bus.errors import Corrupt
from bus.manifests import pack, unpack
from schemas.outputs import CHUNK, LeftOut, Manifest, OutputFile

DIGEST = hashlib.sha256(b"x").digest()


def file(path: str, size: int = 1, chunks: bytes = DIGEST) -> OutputFile:
    return OutputFile(path, size, 0o644, 12.5, DIGEST, chunks)


def test_a_manifest_comes_back_as_it_was() -> None:
    files = (file("a/model.pt", CHUNK + 1, DIGEST * 2), file("empty", 0, b""), file("ü\n.txt"))
    one = Manifest(files, (LeftOut("link", "a link"),), 3, "too large")
    assert unpack(pack(one)) == one
    assert one.size == CHUNK + 2


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../up", "a/../../up", "a//b", "./a", "a/.", "a\0b", "x" * 5000, "\ud800"],
    ids=["none", "root", "up", "deep", "empty", "dot", "end", "nul", "long", "surrogate"],
)
def test_no_path_leads_out_of_the_folder(path: str) -> None:
    row = (path.encode("utf-8", "surrogatepass"), 1, 0o644, 1.0, DIGEST, DIGEST)
    data = msgpack.packb((1, [row], [], 0, ""))
    with pytest.raises(Corrupt):
        unpack(data)
    with pytest.raises((Corrupt, UnicodeEncodeError)):
        unpack(pack(Manifest((file(path),))))


@pytest.mark.parametrize(
    "files",
    [
        (file("a"), file("a")),
        (file("a"), file("a/b")),
        (file("a", CHUNK + 1),),
        (file("a", -1),),
        (file("a", 0),),
        (file("a", 1, b"short"),),
    ],
    ids=["twice", "both", "chunks", "negative", "empty", "digest"],
)
def test_what_contradicts_itself_is_refused(files: tuple[OutputFile, ...]) -> None:
    with pytest.raises(Corrupt):
        unpack(pack(Manifest(files)))


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x00" * 9, msgpack.packb((2, [], [], 0, "")), msgpack.packb([1])]
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(data)


def test_marks_that_give_rights_do_not_come_along() -> None:
    one = OutputFile("tool", 1, 0o4755, 1.0, DIGEST, DIGEST)
    assert unpack(pack(Manifest((one,)))).files[0].mode == 0o755
