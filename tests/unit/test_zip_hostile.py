"""Bundles that strangers send: the hostile are refused by name, the odd but sound are taken."""

from __future__ import annotations

import io
import random
import stat
import struct
import tarfile
import time
import zipfile
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.upload.bundle import Bundle, canonical_bytes, check_entry, inspect
from services.upload.config import UploadConfig
from services.upload.refusals import BadBundle
from tests.unit.zips import File, build, deflate, descriptor

CONFIG = UploadConfig(most_files=50, most_bytes=8 << 20, ratio_from=1 << 20)
GOOD = build(File())
ZEROS = bytes(4 << 20)
HELLO = b"hello\n"


def read(data: bytes, config: UploadConfig = CONFIG) -> Bundle:
    bundle = inspect(io.BytesIO(data), len(data), config)
    check_entry(bundle.files, "main.py")
    return bundle


def unpacked(data: bytes) -> dict[str, bytes]:
    bundle = read(data)
    packed = canonical_bytes(io.BytesIO(data), bundle)
    archive = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)).read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]


def special(kind: int) -> bytes:
    return build(File(), File(name=b"odd", mode=kind | 0o644))


def zip64_extra(*values: int) -> bytes:
    return struct.pack("<HH", 1, 8 * len(values)) + struct.pack(f"<{len(values)}Q", *values)


def wide_end(
    count: int = 1, plain_count: int = 0xFFFF, plain_start: int = 0xFFFFFFFF, gap: bytes = b"",
    disks: int = 1,
) -> bytes:  # fmt: skip
    """A zip of one file with ZIP64 end records, all of it true where nothing else is said."""
    _, _, _, _, _, size, start, _ = struct.unpack("<4s4H2LH", GOOD[-22:])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, disks)
    return build(File(), before_end=record + gap + locator, count=plain_count, start=plain_start)


def quoted() -> bytes:
    """Overlapping entries that quote each other's headers (after Fifield's zip bomb)."""
    inner = build(File(name=b"b", data=ZEROS))
    packed = inner[: inner.index(b"PK\x01\x02")]
    return build(
        File(name=b"main.py", data=packed, method=0),
        File(name=b"b", data=ZEROS, packed=b"", central={"offset": 37, "packed": len(packed) - 31}),
    )


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not_a_zip"),
    "text": (b"print(1)\n" * 100, "not_a_zip"),
    "a tar": (b"\0" * 10240, "not_a_zip"),
    "gzip": (b"\x1f\x8b" + b"x" * 200, "not_a_zip"),
    "cut off in the data": (GOOD[:40], "truncated_zip"),
    "cut off in the directory": (GOOD[:-30], "truncated_zip"),
    "cut off by one byte": (GOOD[:-1], "truncated_zip"),
    "no files": (build(), "empty_zip"),
    "only a folder": (build(File(name=b"a/", data=b"", method=0, mode=0o040755)), "empty_zip"),
    "bytes in front": (build(File(), prefix=b"#!/bin/sh\n"), "damaged_zip"),
    "bytes behind": (build(File(), tail=b"more"), "truncated_zip"),
    "a gap between entries": (build(File(), File(name=b"b", gap=b"hidden")), "damaged_zip"),
    "a gap before the first": (build(File(gap=b"hidden")), "damaged_zip"),
    "data before the end record": (build(File(), before_end=b"hidden"), "damaged_zip"),
    "two end records": (build(File(), comment=GOOD[-22:]), "damaged_zip"),
    "count too high": (build(File(), count=2), "damaged_zip"),
    "count too low": (build(File(), File(name=b"b"), count=1), "damaged_zip"),
    "count of this disk differs": (build(File(), here=7), "split_zip"),
    "part of a split zip": (build(File(), disk=1), "split_zip"),
    "an entry on another disk": (build(File(central={"disk": 3})), "split_zip"),
    "directory elsewhere": (build(File(), start=3), "damaged_zip"),
    "two names for one entry": (build(File(local={"name": b"evil.py"})), "damaged_zip"),
    "two methods": (build(File(method=0, local={"method": 8})), "damaged_zip"),
    "two sizes": (build(File(local={"size": 5})), "damaged_zip"),
    "two checksums": (build(File(local={"crc": 5})), "damaged_zip"),
    "two flags": (build(File(local={"flags": 0x800})), "damaged_zip"),
    "wrong checksum": (build(File(local={"crc": 5}, central={"crc": 5})), "damaged_zip"),
    "size too small": (build(File(local={"size": 3}, central={"size": 3})), "damaged_zip"),
    "size too large": (build(File(local={"size": 99}, central={"size": 99})), "damaged_zip"),
    "packed size too large": (
        build(File(local={"packed": 999}, central={"packed": 999})),
        "damaged_zip",
    ),
    "two entries at one place": (
        build(File(), File(name=b"b", central={"offset": 0})),
        "damaged_zip",
    ),
    "overlap by quoting": (quoted(), "damaged_zip"),
    "local header missing": (build(File(central={"offset": 5})), "damaged_zip"),
    "encrypted": (build(File(flags=1)), "encrypted_zip"),
    "strongly encrypted": (build(File(flags=0x41)), "encrypted_zip"),
    "masked directory": (build(File(flags=0x2000)), "encrypted_zip"),
    "unknown method": (build(File(method=12)), "unknown_compression"),
    "deflate64": (build(File(method=9)), "unknown_compression"),
    "deflate ends early": (build(File(packed=deflate(b"print(1)\n")[:-2])), "damaged_zip"),
    "data behind the deflate": (build(File(packed=deflate(b"print(1)\n") + b"xx")), "damaged_zip"),
    "not deflate": (build(File(packed=b"\xff" * 20)), "damaged_zip"),
    "false descriptor": (
        build(File(flags=8, descriptor=descriptor(b"other", b"other"))),
        "damaged_zip",
    ),
    "no descriptor": (build(File(flags=8)), "damaged_zip"),
    "absolute path": (build(File(), File(name=b"/etc/passwd")), "absolute_path"),
    "drive": (build(File(), File(name=b"C:/evil.py")), "absolute_path"),
    "parent": (build(File(), File(name=b"../evil.py")), "path_outside"),
    "parent inside": (build(File(), File(name=b"a/../../evil.py")), "path_outside"),
    "backslash": (build(File(), File(name=b"..\\evil.py")), "bad_name"),
    "NUL": (build(File(), File(name=b"main.py\0.txt")), "bad_name"),
    "newline": (build(File(), File(name=b"a\nb")), "bad_name"),
    "empty part": (build(File(), File(name=b"a//b")), "bad_name"),
    "dot part": (build(File(), File(name=b"a/./b")), "bad_name"),
    "no name": (build(File(), File(name=b"")), "bad_name"),
    "trailing dot": (build(File(), File(name=b"b.")), "bad_name"),
    "trailing space": (build(File(), File(name=b"b ")), "bad_name"),
    "part too long": (build(File(), File(name=b"b" * 300)), "bad_name"),
    "path too long": (build(File(), File(name=b"bbbb/" * 300 + b"c")), "bad_name"),
    "too deep": (build(File(), File(name=b"b/" * 60 + b"c")), "bad_name"),
    "not UTF-8": (build(File(), File(name=b"\xff\xfe", flags=0x800)), "bad_name"),
    "link": (special(stat.S_IFLNK), "link"),
    "link made on DOS": (
        build(File(), File(name=b"odd", mode=stat.S_IFLNK | 0o777, central={"system": 0})),
        "link",
    ),
    "fifo": (special(stat.S_IFIFO), "special_file"),
    "device": (special(stat.S_IFCHR), "special_file"),
    "block device": (special(stat.S_IFBLK), "special_file"),
    "socket": (special(stat.S_IFSOCK), "special_file"),
    "folder by its mode alone": (special(stat.S_IFDIR), "special_file"),
    "folder with contents": (build(File(), File(name=b"a/", mode=0o040755)), "special_file"),
    "same name twice": (build(File(), File(data=b"import os\n")), "name_collision"),
    "case": (build(File(), File(name=b"MAIN.PY")), "name_collision"),
    "width": (build(File(), File(name="ｍain.py".encode(), flags=0x800)), "name_collision"),  # noqa: RUF001
    "composed": (
        build(
            File(),
            File(name="é".encode(), flags=0x800),
            File(name="e\u0301".encode(), flags=0x800),
        ),
        "name_collision",
    ),
    "parents that collide": (build(File(), File(name=b"a/x"), File(name=b"A/y")), "name_collision"),
    "file that is a folder": (build(File(), File(name=b"a"), File(name=b"a/b")), "name_collision"),
    "folder named like a file": (
        build(File(), File(name=b"main.py/", data=b"", method=0, mode=0o040755)),
        "name_collision",
    ),
    "folders that collide": (
        build(File(), File(name=b"A/", data=b"", method=0, mode=0o040755), File(name=b"a/x")),
        "name_collision",
    ),
    "bomb by ratio": (build(File(), File(name=b"zeros", data=ZEROS)), "zip_bomb"),
    "bomb by size": (
        build(File(), *(File(name=b"z%d" % n, data=ZEROS) for n in range(3))),
        "too_large",
    ),
    "bomb by count": (build(*(File(name=b"f%d.py" % n) for n in range(60))), "too_many_files"),
    "wide size without its field": (
        build(File(local={"size": 0xFFFFFFFF}, central={"size": 0xFFFFFFFF})),
        "damaged_zip",
    ),
    "wide size that lies": (
        build(File(extra=zip64_extra(5), local={"size": 0xFFFFFFFF}, central={"size": 0xFFFFFFFF})),
        "damaged_zip",
    ),
    "wide end record with another count": (wide_end(count=2), "damaged_zip"),
    "end records of two counts": (wide_end(plain_count=2), "damaged_zip"),
    "end records of two places": (wide_end(plain_start=7), "damaged_zip"),
    "wide end record elsewhere": (wide_end(gap=b"hidden"), "damaged_zip"),
    "wide end record of a split zip": (wide_end(disks=2), "damaged_zip"),
    "no wide end record": (build(File(), start=0xFFFFFFFF), "damaged_zip"),
    "extra field twice": (
        build(File(extra=zip64_extra(9) * 2, central={"size": 0xFFFFFFFF})),
        "damaged_zip",
    ),
    "extra field too long": (
        build(File(extra=b"\x01\x00\xff\x00", central={"size": 0xFFFFFFFF})),
        "damaged_zip",
    ),
    "no entry file": (build(File(name=b"train.py")), "no_entry_file"),
    "requirements that are no text": (
        build(File(), File(name=b"requirements.txt", data=b"\xff\xfen\0u\0m\0")),
        "bad_requirements",
    ),
    "requirements with NUL": (
        build(File(), File(name=b"requirements.txt", data=b"num\0py")),
        "bad_requirements",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_bundle_is_refused_by_its_name(kind: str) -> None:
    data, code = HOSTILE[kind]
    with pytest.raises(BadBundle) as caught:
        read(data)
    assert caught.value.code == code
    assert caught.value.detail
    assert "\n" not in caught.value.detail


def test_the_corpus_has_forty_kinds_or_more() -> None:
    assert len(HOSTILE) >= 40


def written(streamed: bool = False, **files: bytes) -> bytes:
    target: io.BytesIO = Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/").replace("_py", ".py"), data)
    return target.getvalue()


class Unseekable(io.BytesIO):
    """What a pipe looks like to a zip's writer."""

    def seekable(self) -> bool:
        return False

    def seek(self, *args: int) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def with_zip64_end() -> bytes:
    target = io.BytesIO()
    with (
        zipfile.ZipFile(target, "w") as archive,
        archive.open("main.py", "w", force_zip64=True) as f,
    ):
        f.write(HELLO)
    return target.getvalue()


RAW = deflate(HELLO)
NOISE = random.Random(7).randbytes(5 << 20)
UNIX_TIMES = struct.pack("<HHBLL", 0x5455, 9, 3, 0, 0) + struct.pack(
    "<HHBBLBL", 0x7875, 11, 1, 4, 0, 4, 0
)

SOUND: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "plain": (GOOD, {"main.py": b"print(1)\n"}),
    "stored": (build(File(method=0)), {"main.py": b"print(1)\n"}),
    "comment": (build(File(), comment=b"made by hand"), {"main.py": b"print(1)\n"}),
    "single top folder": (build(File(name=b"p/main.py")), {"main.py": b"print(1)\n"}),
    "folder entries": (
        build(File(name=b"p/", data=b"", method=0, mode=0o040755), File(name=b"p/main.py")),
        {"main.py": b"print(1)\n"},
    ),
    "clutter": (
        build(File(name=b"p/main.py"), File(name=b"__MACOSX/._p"), File(name=b"p/.DS_Store")),
        {"main.py": b"print(1)\n"},
    ),
    "hidden files": (
        build(File(), File(name=b".env", data=HELLO)),
        {"main.py": b"print(1)\n", ".env": HELLO},
    ),
    "empty file": (build(File(), File(name=b"e", data=b"")), {"main.py": b"print(1)\n", "e": b""}),
    "empty stored": (
        build(File(), File(name=b"e", data=b"", method=0)),
        {"main.py": b"print(1)\n", "e": b""},
    ),
    "no modes": (build(File(central={"system": 0}, mode=0)), {"main.py": b"print(1)\n"}),
    "times": (build(File(extra=UNIX_TIMES)), {"main.py": b"print(1)\n"}),
    "utf-8 name": (
        build(File(), File(name="größe.txt".encode(), flags=0x800, data=HELLO)),
        {"main.py": b"print(1)\n", "größe.txt": HELLO},
    ),
    "utf-8 name without the flag": (
        build(File(), File(name="größe.txt".encode(), data=HELLO)),
        {"main.py": b"print(1)\n", "größe.txt": HELLO},
    ),
    "cp437 name": (
        build(File(), File(name=b"gr\x94\xe1e.txt", data=HELLO)),
        {"main.py": b"print(1)\n", "größe.txt": HELLO},
    ),
    "odd characters": (
        build(File(), File(name=b"a b:c?*.txt", data=HELLO)),
        {"main.py": b"print(1)\n", "a b:c?*.txt": HELLO},
    ),
    "streamed": (written(streamed=True, main_py=HELLO), {"main.py": HELLO}),
    "zip64": (with_zip64_end(), {"main.py": HELLO}),
    "wide end record": (wide_end(), {"main.py": b"print(1)\n"}),
    "wide end record with plain values": (
        wide_end(plain_count=1, plain_start=len(GOOD) - 22 - 46 - 7),
        {"main.py": b"print(1)\n"},
    ),
    "made on DOS": (build(File(central={"system": 0}, mode=0o100666)), {"main.py": b"print(1)\n"}),
    "descriptor with a mark": (
        build(File(data=HELLO, flags=8, descriptor=descriptor(HELLO, RAW))),
        {"main.py": HELLO},
    ),
    "descriptor without": (
        build(File(data=HELLO, flags=8, descriptor=descriptor(HELLO, RAW, mark=False))),
        {"main.py": HELLO},
    ),
    "wide descriptor": (
        build(File(data=HELLO, flags=8, descriptor=descriptor(HELLO, RAW, wide=True))),
        {"main.py": HELLO},
    ),
    "five megabytes": (
        build(File(), File(name=b"noise", data=NOISE)),
        {"main.py": b"print(1)\n", "noise": NOISE},
    ),
    "dockerfile alone": (build(File(name=b"Dockerfile", data=HELLO)), {"Dockerfile": HELLO}),
}


@pytest.mark.parametrize("kind", SOUND)
def test_an_odd_but_sound_bundle_is_taken_whole(kind: str) -> None:
    data, files = SOUND[kind]
    assert unpacked(data) == files


def test_the_bundle_is_the_same_however_it_was_zipped() -> None:
    one = build(File(), File(name=b"a", data=HELLO))
    other = build(File(name=b"a", data=HELLO, method=0, extra=UNIX_TIMES), File(mode=0o100600))
    assert read(one).digest == read(other).digest
    bundles = [canonical_bytes(io.BytesIO(data), read(data)) for data in (one, other)]
    assert bundles[0] == bundles[1]


def test_what_can_be_run_makes_another_bundle() -> None:
    assert read(GOOD).digest != read(build(File(mode=0o100755))).digest


def test_a_missing_entry_file_lists_what_is_there() -> None:
    with pytest.raises(BadBundle, match=r"no main\.py in it; there are: a\.py, train\.py"):
        read(build(File(name=b"train.py"), File(name=b"a.py"), File(name=b"data.csv")))


@given(st.data())
def test_a_zip_with_flipped_bytes_is_refused_or_unpacks_to_the_same(data: st.DataObject) -> None:
    whole = bytearray(build(File(), File(name=b"a", data=HELLO * 9), comment=b"note"))
    for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        files = unpacked(bytes(whole))
    except BadBundle:
        return
    assert zlib.crc32(b"".join(files.values())) in {
        zlib.crc32(b) for b in (HELLO * 9 + b"print(1)\n", b"print(1)\n" + HELLO * 9)
    }


def test_as_many_files_as_a_plain_end_record_counts_are_checked_in_seconds() -> None:
    names = [b"p/%d/%d/file-%d.py" % (n % 7, n % 1000, n) for n in range(65_535)]
    whole = build(File(name=b"p/main.py"), *(File(name=n, data=b"", method=0) for n in names[1:]))
    begun = time.monotonic()
    bundle = read(whole, UploadConfig())
    assert len(bundle.members) == 65_535
    assert time.monotonic() - begun < 20
