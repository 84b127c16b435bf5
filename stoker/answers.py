"""What does the HTTP API answer, as values that scripts can use?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ENDED = frozenset({"succeeded", "failed", "cancelled"})


class StokerError(Exception):
    """Something that Stoker could not do; the message is one sentence for a person."""


class Unreachable(StokerError):
    """No answer from the server."""


class Refused(StokerError):
    """The server said no; ``code`` is stable, ``status`` is the HTTP status."""

    def __init__(self, status: int, code: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.field = field


class NotSignedIn(Refused):
    """The server wants to know who asks."""

    def __init__(self, url: str, shown: bool) -> None:
        said = f"{url} does not take that token (any more)" if shown else f"{url} asks who you are"
        super().__init__(401, "not_signed_in", f"{said}; sign in with: stoker login {url}")


@dataclass(frozen=True, slots=True)
class Job:
    """A job as last heard. ``raw`` is all that the server said of it."""

    id: str
    name: str
    state: str
    pool: str
    owner: str
    reason: str | None
    detail: str
    exit_code: int | None
    signal: int | None
    """The signal that ended the program, if one did."""
    attempt: int
    worker: str | None
    submitted_at: float
    started_at: float | None
    ended_at: float | None
    explanation: str = ""
    """Why it does not run yet."""
    notes: tuple[str, ...] = ()
    """What was tolerated when it was submitted."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        return self.state == "succeeded"


@dataclass(frozen=True, slots=True)
class JobPage:
    """A piece of the list of jobs, newest first."""

    jobs: tuple[Job, ...]
    counts: Mapping[str, int]
    """State to number of jobs, over all that match the other filters."""
    more: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as last heard."""

    name: str
    pool: str
    runtime: str
    host: str
    labels: Mapping[str, str]
    slots: int
    cpus: float
    memory: int
    """Bytes."""
    gpus: int
    held: int
    """Attempts that it holds now."""
    draining: bool
    aside: str
    """Why it is given nothing; empty where it is not set aside."""
    heard_at: float
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Bytes of one attempt's log, in order."""

    attempt: int
    rank: int
    offset: int
    """Of the first byte."""
    time: float
    """Unix seconds."""
    spans: tuple[tuple[str, int], ...]
    """Runs of bytes: ``o`` standard output, ``e`` standard error, ``b`` build, ``s`` Stoker."""
    data: bytes

    @property
    def cursor(self) -> str:
        """The place after this piece: where a later follower goes on."""
        return f"{self.attempt}.{self.rank}.{self.offset + len(self.data)}"

    def parts(self) -> list[tuple[str, bytes]]:
        """The data cut by who wrote it."""
        cut, place = [], 0
        for stream, length in self.spans:
            cut.append((stream, self.data[place : place + length]))
            place += length
        return cut


@dataclass(frozen=True, slots=True)
class LogWindow:
    """Where a part of a log lies."""

    cursor: str
    """Where it begins: ``attempt.rank.offset``."""
    line: int
    """Number of its first line, counted from 1."""
    size: int
    """Bytes."""

    @property
    def start(self) -> int:
        return int(self.cursor.rpartition(".")[2])

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of the readable log, as a terminal would show it."""

    number: int
    """Counted from 1."""
    data: bytes
    """Without its newline; it may hold colours (``ESC [ … m``)."""
    stream: str
    """``o`` standard output, ``e`` standard error, ``b`` build, ``s`` Stoker."""
    time: float
    """Unix seconds at which it was begun."""


@dataclass(frozen=True, slots=True)
class LogRows:
    """Some rows of the readable log."""

    rows: tuple[LogRow, ...]
    total: int
    """Number of the last row that there is by now."""
    complete: bool
    """Nothing more comes."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of a log that could not be kept."""

    text: str
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def read_rows(frame: bytes) -> LogRows:
    """A frame: the header's length in four bytes, the header as JSON, rows joined by newlines."""
    header, data = read_frame(frame)
    lines = data.split(b"\n") if header["count"] else []
    origins = [(stream, time) for stream, count, time in header["spans"] for _ in range(count)]
    numbers = header.get("numbers") or range(header["first"], header["first"] + len(lines))
    rows = tuple(
        LogRow(number, line, *origin)
        for number, line, origin in zip(numbers, lines, origins, strict=True)
    )
    return LogRows(rows, header["total"], header["complete"], header)


def read_frame(frame: bytes) -> tuple[Mapping[str, Any], bytes]:
    size = int.from_bytes(frame[:4], "big")
    return json.loads(frame[4 : 4 + size]), frame[4 + size :]


def read_job(answer: Mapping[str, Any]) -> Job:
    """From a job's page (``{"job": record, "explanation": …}``)."""
    record = answer.get("job", answer)
    spec = record.get("spec") or {}
    attempt = current_attempt(record)
    explanation = answer.get("explanation") or ""
    if isinstance(explanation, Mapping):
        explanation = explanation.get("text", "")
    return Job(
        id=record["id"],
        name=spec.get("name") or spec.get("entry") or record.get("name") or "",
        state=record["state"],
        pool=spec.get("pool") or record.get("pool") or "",
        owner=record.get("owner") or "",
        reason=record.get("reason"),
        detail=record.get("detail") or "",
        exit_code=record.get("exit_code"),
        signal=(attempt.get("end") or {}).get("signal"),
        attempt=record.get("attempt") or 0,
        worker=record.get("worker") or attempt.get("worker"),
        submitted_at=record["submitted_at"],
        started_at=record.get("started_at") or attempt.get("started_at"),
        ended_at=record.get("ended_at") or ended_at(record),
        explanation=explanation,
        notes=tuple(answer.get("notes") or ()),
        raw=record,
    )


def current_attempt(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attempt that counts; empty before the first."""
    number = record.get("attempt")
    return next((one for one in record.get("attempts") or () if one.get("number") == number), {})


def ended_at(record: Mapping[str, Any]) -> float | None:
    return record.get("changed_at") if record["state"] in ENDED else None


def read_worker(record: Mapping[str, Any]) -> Worker:
    beat = record.get("beat") or record
    capacity = beat.get("capacity") or {}
    return Worker(
        name=beat.get("worker") or record.get("name") or "",
        pool=beat.get("pool") or "",
        runtime=beat.get("runtime") or "",
        host=beat.get("host") or "",
        labels=beat.get("labels") or {},
        slots=capacity.get("slots") or 0,
        cpus=capacity.get("cpus") or 0.0,
        memory=capacity.get("memory") or 0,
        gpus=capacity.get("gpus") or 0,
        held=len(beat.get("held") or ()),
        draining=bool(record.get("drain") or beat.get("draining")),
        aside=record.get("aside") or "",
        heard_at=record.get("heard_at") or 0.0,
        raw=record,
    )


def read_problem(status: int, body: Mapping[str, Any]) -> Refused:
    detail = body.get("detail") or body.get("title") or f"the server answered {status}"
    return Refused(status, body.get("code") or f"http_{status}", str(detail), body.get("field"))
