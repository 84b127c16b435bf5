"""How do the outputs of a job look to people?"""

from __future__ import annotations

from schemas.message import Message
from schemas.outputs import LeftOut, Manifest, OutputFile, OutputsHead
from ui.output_kinds import Kind, kind_of


class OutputRow(Message):
    """One file."""

    path: str
    size: int
    """Bytes."""
    mode: int
    """Permission bits."""
    modified: float
    """Unix seconds, by the worker's clock."""
    sha256: str
    kind: Kind
    """How it can be shown, by its name."""


class OutputNote(Message):
    """Something that is not kept, and why."""

    path: str
    why: str


class OutputList(Message):
    """What is stored of one attempt's outputs."""

    job: str
    attempt: int
    attempts: tuple[int, ...] = ()
    """Those that have outputs."""
    files: tuple[OutputRow, ...] = ()
    more: bool = False
    """There are more behind the last one: ask with ``after``."""
    count: int = 0
    size: int = 0
    """Of all files of the attempt."""
    final: bool = False
    """The program is over, and everything is stored."""
    at: float | None = None
    """Unix seconds of the last change."""
    sending_files: int = 0
    sending_size: int = 0
    """What the worker is sending after the program's end."""
    over: str = ""
    """Which limit was met; empty where none was."""
    left_out: int = 0
    notes: tuple[OutputNote, ...] = ()


def row(file: OutputFile) -> OutputRow:
    return OutputRow(
        path=file.path,
        size=file.size,
        mode=file.mode,
        modified=file.modified,
        sha256=file.digest.hex(),
        kind=kind_of(file.path),
    )


def note(left_out: LeftOut) -> OutputNote:
    return OutputNote(path=left_out.path, why=left_out.why)


def listed(
    head: OutputsHead, manifest: Manifest, attempts: list[int], files: list[OutputFile], more: bool
) -> OutputList:
    return OutputList(
        job=head.job,
        attempt=head.attempt,
        attempts=tuple(attempts),
        files=tuple(map(row, files)),
        more=more,
        count=len(manifest.files),
        size=manifest.size,
        final=head.final,
        at=head.at or None,
        sending_files=head.sending_files,
        sending_size=head.sending_bytes,
        over=manifest.over,
        left_out=manifest.left_out,
        notes=tuple(map(note, manifest.notes)),
    )
