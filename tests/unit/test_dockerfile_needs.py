"""What of a bundle counts for the image that its Dockerfile makes?"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from agent.runtimes.docker_dockerfile import context_of, read_needs
from agent.runtimes.dockerfile_needs import chosen, needs_of

FROM = "ARG BASE\nFROM ${BASE}\n"


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("RUN pip install six", set()),
        ("COPY requirements.txt .", {"requirements.txt"}),
        ("copy ./a /b/ /to/", {"a", "b"}),
        ("COPY --chown=1:1 --chmod=755 src/ /src", {"src"}),
        ('COPY ["with blank", "/to"]', {"with blank"}),
        ("COPY a \\\n  # a comment\n  b /to", {"a", "b"}),
        ("COPY *.txt lib/?.py /to", {"*.txt", "lib/?.py"}),
        ("ADD https://example.org/x.tar /x\nADD y.tar /y", {"y.tar"}),
        ("# COPY . .\nENV X=1", set()),
    ],
    ids=["run", "copy", "small", "flags", "json", "lines", "globs", "remote", "comment"],
)
def test_what_is_copied_is_what_counts(text: str, sources: set[str]) -> None:
    needs = needs_of(FROM + text)
    assert needs is not None
    assert needs.sources == sources
    assert needs.images == {"BASE"}


@pytest.mark.parametrize(
    "text",
    [
        FROM + "COPY . .",
        FROM + "COPY ./ /app",
        FROM + "COPY ../x /app",
        FROM + "COPY [a-c].txt /app",
        FROM + "COPY $WHAT /app",
        FROM + 'COPY "a b" /app',
        FROM + "COPY <<EOF /x\nhello\nEOF",
        FROM + "RUN <<EOF\ncp x y\nEOF",
        FROM + "RUN --mount=type=bind,target=/x make",
        FROM + "COPY --from=example/other /a /b",
        FROM + "COPY --parents a /b",
        FROM + "COPY alone",
        FROM + "COPY [broken /b",
        FROM + "ONBUILD COPY . .",
        "# syntax=docker/dockerfile:1\n" + FROM,
        "# escape=`\n" + FROM,
        "FROM --platform=linux/arm64 python:3.12",
        "FROM python:${VERSION}",
        "",
    ],
    ids=str,
)
def test_where_it_cannot_be_told_all_of_the_bundle_counts(text: str) -> None:
    assert needs_of(text) is None


def test_stages_are_not_images() -> None:
    text = (
        "FROM golang:1 AS Build\nCOPY go.mod .\nFROM scratch AS empty\n"
        "FROM build AS test\nFROM python:3.12-slim\nCOPY --from=build /x /x\nCOPY --from=0 /y /y\n"
    )
    needs = needs_of(text)
    assert needs is not None
    assert needs.images == {"golang:1", "python:3.12-slim"}
    assert needs.sources == {"go.mod"}


def test_a_source_is_a_file_a_pattern_or_all_of_a_folder() -> None:
    paths = ["a.txt", "b.txt", "lib", "lib/c.txt", "lib/deep", "lib/deep/d.py", "library"]
    found = chosen(paths, ["*.txt", "lib", "lib/?.txt", "nothing"])
    assert found == {
        "*.txt": ["a.txt", "b.txt"],
        "lib": ["lib", "lib/c.txt", "lib/deep", "lib/deep/d.py"],
        "lib/?.txt": ["lib/c.txt"],
        "nothing": [],
    }


def bundle(folder: Path, dockerfile: str) -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "x.py").write_text("1")
    (folder / "main.py").write_text("print(1)")
    (folder / "Dockerfile").write_text(dockerfile)
    return folder


def parts_of(folder: Path, digest: str = "d1") -> dict[str, str]:
    return context_of(folder, digest, read_needs(folder)).parts


def names_of(folder: Path) -> set[str]:
    context = context_of(folder, "d1", read_needs(folder))
    with tarfile.open(fileobj=io.BytesIO(b"".join(context.tar()))) as tar:
        return set(tar.getnames())


def test_code_that_is_not_copied_is_no_part_of_the_key(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b", FROM + "COPY src /src\n")
    before = parts_of(folder)
    (folder / "main.py").write_text("print(2)")
    assert parts_of(folder, "d2") == before
    assert names_of(folder) == {"Dockerfile", "src", "src/x.py"}


@pytest.mark.parametrize("change", ["content", "mode", "name", "folder", "dockerfile"])
def test_whatever_is_copied_is_part_of_the_key(tmp_path: Path, change: str) -> None:
    folder = bundle(tmp_path / "b", FROM + "COPY src /src\n")
    before = parts_of(folder)
    file = folder / "src" / "x.py"
    match change:
        case "content":
            file.write_text("2")
        case "mode":
            file.chmod(0o755)
        case "name":
            file.rename(folder / "src" / "y.py")
        case "folder":
            (folder / "src" / "empty").mkdir()
        case _:
            (folder / "Dockerfile").write_text(FROM + "COPY src /src2\n")
    assert parts_of(folder) != before


def test_where_all_counts_the_engine_gets_all(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b", FROM + "COPY . /app\n")
    assert parts_of(folder, "d1") != parts_of(folder, "d2")
    assert "main.py" in names_of(folder)


def test_a_dockerfile_that_is_no_text_is_left_to_the_engine(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b", "")
    (folder / "Dockerfile").write_bytes(b"FROM \xff")
    assert "the bundle" in parts_of(folder)
