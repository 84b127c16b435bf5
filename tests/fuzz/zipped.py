"""Is every zip taken or refused by a reason, in bounded memory, whatever it says of itself?"""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from typing import Any

import zstandard
from hypothesis import reject
from hypothesis import strategies as st

from services.upload.bundle import canonical_bytes, inspect
from services.upload.config import UploadConfig
from services.upload.refusals import BadBundle
from tests.fuzz.rounds import Target
from tests.unit.zips import File, build

CONFIG = UploadConfig(most_files=50, most_bytes=1 << 20, ratio_from=1 << 16)
MARKS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08")
NAMES = (
    st.sampled_from(
        [b"main.py", b"a/b.py", b"../x", b"/etc/passwd", b"a//b", b"A", b"a", b"C:\\x", b"\xff.py",
         b"con", b"a/", b"a\x00b", b".", b"", b"x" * 300, "é.py".encode(), b"__MACOSX/x"]
    )
    | st.binary(max_size=12)
)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 0xFFFF, 0xFFFFFFFF, 1 << 31, 12]) | st.integers(0, 0xFFFF)
LIES = ("method", "flags", "crc", "packed", "size")


@st.composite
def files(draw: st.DrawFn) -> File:
    data = draw(st.binary(max_size=60) | st.builds(lambda n: b"\0" * n, st.integers(0, 5000)))
    descriptor = draw(
        st.none() | st.binary(max_size=24) | st.just(MARKS[5] + zlib.crc32(data).to_bytes(4))
    )
    return File(
        name=draw(NAMES),
        data=data,
        method=draw(st.sampled_from([0, 8, 8, 8, 9, 99])),
        flags=draw(st.sampled_from([0, 0, 0x800, 8, 1, 0x2000, 0xFFFF])),
        mode=draw(st.sampled_from([0o100644, 0o100755, 0o120777, 0o040755, 0, 0o777777])),
        extra=draw(st.just(b"") | st.binary(max_size=24)),
        descriptor=descriptor,
        packed=draw(st.none() | st.binary(max_size=40)),
        local=draw(st.dictionaries(st.sampled_from(LIES), NUMBERS, max_size=1)),
        central=draw(st.dictionaries(st.sampled_from(LIES), NUMBERS, max_size=1)),
        gap=draw(st.just(b"") | st.binary(max_size=4)),
    )


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    try:
        whole = build(*draw(st.lists(files(), max_size=4)))
    except struct.error:
        reject()  # a number that has no room in its field
    return shaken(draw, whole)


def shaken(draw: st.DrawFn, whole: bytes) -> bytes:
    """Sometimes cut, doubled, or with a mark where none belongs."""
    at = draw(st.integers(0, max(0, len(whole) - 1)))
    match draw(st.integers(0, 6)):
        case 0:
            return whole[:at]
        case 1:
            return whole + draw(st.binary(max_size=30))
        case 2:
            return whole[:at] + draw(st.sampled_from(MARKS)) + whole[at + 4 :]
        case 3:
            return whole[:at] + draw(st.binary(min_size=1, max_size=4)) + whole[at + 1 :]
        case 4:
            return whole + whole
    return whole


def check(data: bytes) -> None:
    """A bundle that is taken has a canonical form that any reader understands in one way."""
    file = io.BytesIO(data)
    try:
        bundle = inspect(file, len(data), CONFIG)
    except BadBundle as error:
        check_refusal(error)
        return
    packed = canonical_bytes(file, bundle)
    names = members(zstandard.ZstdDecompressor().decompressobj().decompress(packed))
    assert names == list(bundle.files) == sorted(set(names))
    for name in names:
        assert not name.startswith("/")
        assert ".." not in name.split("/")


def check_refusal(error: BadBundle) -> None:
    assert error.detail
    assert error.detail.isprintable()
    assert 400 <= error.status < 500


def members(tar: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        found: list[Any] = archive.getmembers()
    assert all(one.isreg() for one in found)
    return [one.name for one in found]


TARGETS = (
    Target("a zip that is built to lie", zips(), check),
    Target("bytes that are called a zip", st.binary(max_size=200), check),
)
