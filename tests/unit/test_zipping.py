"""Does a zip that is made while it is sent hold what it should, under names that harm nobody?"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import AsyncGenerator

import pytest

from schemas.outputs import OutputFile
from ui.output_kinds import Kind, inline_type, kind_of
from ui.zipping import safe_name, zipped


def file(path: str, size: int = 3, mode: int = 0o644, modified: float = 1e9) -> OutputFile:
    return OutputFile(path, size, mode, modified, b"d" * 32, b"")


async def read(one: OutputFile) -> AsyncGenerator[bytes, None]:
    for _ in range(one.size):
        yield b"x"


async def archive(*files: OutputFile) -> zipfile.ZipFile:
    parts = [part async for part in zipped("job", files, read)]
    return zipfile.ZipFile(io.BytesIO(b"".join(parts)))


async def test_files_are_in_it_with_their_rights_and_times() -> None:
    made = await archive(file("a/tool", mode=0o755), file("empty", 0), file("old", modified=0.0))
    assert made.testzip() is None
    assert made.namelist() == ["job/a/tool", "job/empty", "job/old"]
    assert made.read("job/a/tool") == b"xxx"
    tool, _, old = made.infolist()
    assert stat.S_IMODE(tool.external_attr >> 16) == 0o755
    assert (tool.date_time[0], old.date_time[0]) == (2001, 1980)


async def test_times_that_no_zip_holds_are_moved() -> None:
    made = await archive(file("future", modified=1e18), file("past", modified=-1e18))
    assert [info.date_time[0] for info in made.infolist()] == [2107, 1980]


async def test_names_that_become_the_same_stay_apart() -> None:
    made = await archive(file("a\\b"), file("a:b"), file("a_b"))
    assert made.namelist() == ["job/a_b", "job/a_b~2", "job/a_b~3"]


async def test_nothing_is_kept_while_a_big_file_passes() -> None:
    sizes = [len(part) async for part in zipped("job", [file("big", 10_000)], read)]
    assert max(sizes) < 1000


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("..\\..\\evil.bat", ".._.._evil.bat"),
        ("C:\\x", "C__x"),
        ("line\nend", "line_end"),
        ("plain/name.txt", "plain/name.txt"),
        ("ü.txt", "ü.txt"),
    ],
)
def test_a_name_means_the_same_on_every_system(path: str, safe: str) -> None:
    assert safe_name(path) == safe


@pytest.mark.parametrize(
    ("path", "kind", "shown"),
    [
        ("a/curve.PNG", Kind.IMAGE, "image/png"),
        ("x.svg", Kind.TEXT, "text/plain; charset=utf-8"),
        ("x.html", Kind.TEXT, "text/plain; charset=utf-8"),
        ("model.pt", Kind.BINARY, None),
        ("loss.csv", Kind.TABLE, "text/plain; charset=utf-8"),
        ("nb.ipynb", Kind.NOTEBOOK, "text/plain; charset=utf-8"),
        ("png", Kind.UNKNOWN, "text/plain; charset=utf-8"),
        (".csv", Kind.UNKNOWN, "text/plain; charset=utf-8"),
        ("LICENSE", Kind.UNKNOWN, "text/plain; charset=utf-8"),
    ],
)
def test_nothing_that_a_browser_runs_is_sent_as_such(
    path: str, kind: Kind, shown: str | None
) -> None:
    assert (kind_of(path), inline_type(path)) == (kind, shown)
