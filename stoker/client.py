"""How do scripts and notebooks submit jobs and follow them?"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

from stoker.answers import (
    Gap,
    Job,
    JobPage,
    LogPiece,
    LogRows,
    LogWindow,
    NotSignedIn,
    Refused,
    StokerError,
    Unreachable,
    Worker,
    read_job,
    read_problem,
    read_rows,
    read_worker,
)
from stoker.config import page_url
from stoker.datasets import Datasets
from stoker.keeping import token_for
from stoker.outputs import Cut, OutputFile, Outputs, read_outputs, save
from stoker.packing import PackingError
from stoker.submitting import Submitting
from stoker.transport import Progress, Transport, checked_url

__all__ = (
    "Client",
    "Gap",
    "Job",
    "JobPage",
    "LogPiece",
    "LogRows",
    "NotSignedIn",
    "OutputFile",
    "Outputs",
    "PackingError",
    "Refused",
    "StokerError",
    "Unreachable",
    "Worker",
)

NO_PACKAGES = "no_packages"
OUTPUTS_AT_ONCE = 5000
"""Files in one answer."""
SOONEST, LATEST = 0.1, 1.0
"""Seconds between two looks of ``wait``: first and last."""


class Client(Submitting, Datasets):
    """A Stoker server. Without a URL it takes ``STOKER_URL`` or this machine's own ``stoker up``.

    ``ca`` is a PEM file with the authority that vouches for it over HTTPS (or ``STOKER_CA``).
    ``token`` says who asks (or ``STOKER_TOKEN``, or what ``stoker login`` kept); whoever runs that
    ``stoker up`` needs none.

    ::

        job = Client().submit("training", arguments=["--epochs", "3"], resources={"gpus": 1})
        for piece in Client().follow(job.id):
            ...
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: float = 30.0,
        ca: str | Path | None = None,
        token: str | None = None,
    ) -> None:
        self.url = checked_url(url or os.environ.get("STOKER_URL") or page_url())
        self.transport = Transport(self.url, timeout, ca, token or token_for(self.url))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing stays open between requests; ``with`` is there for taste."""

    def jobs(
        self,
        *,
        state: str | None = None,
        text: str | None = None,
        pool: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> JobPage:
        """Newest first; ``before`` is the last id of the page before."""
        asked = {"state": state, "text": text, "pool": pool, "before": before, "limit": limit}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        answer = self.transport.get(f"/api/v1/jobs?{query}")
        jobs = tuple(read_job(row) for row in answer["jobs"])
        return JobPage(jobs, answer.get("counts") or {}, bool(answer.get("more")))

    def job(self, job: str) -> Job:
        return read_job(self.transport.get(f"/api/v1/jobs/{quote(job, safe='')}"))

    def cancel(self, job: str) -> Job:
        return read_job(self.transport.post(f"/api/v1/jobs/{quote(job, safe='')}/cancel", {}))

    def retry(self, job: str, *, key: str | None = None, resume: bool = False) -> Job:
        """The same spec and bundle as a new job; ``resume``: from the old one's last checkpoint."""
        path = f"/api/v1/jobs/{quote(job, safe='')}/retry{'?resume=1' if resume else ''}"
        return read_job(self.transport.post(path, {}, key or secrets.token_hex(16)))

    def checkpoint(self, job: str) -> Mapping[str, Any] | None:
        """From what its next attempt, or a job that resumes it, would go on; None for nothing."""
        answer = self.transport.get(job_path(job, "checkpoint", {}))
        found: Mapping[str, Any] | None = answer.get("checkpoint")
        return found

    def wait(self, job: str, timeout: float | None = None) -> Job:
        """The job when it has ended; ``TimeoutError`` where that takes longer."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = SOONEST
        while not (found := self.job(job)).ended:
            if deadline is not None and time.monotonic() + pause > deadline:
                raise TimeoutError(f"job {job} is {found.state} after {timeout:g} seconds")
            time.sleep(pause)
            pause = min(LATEST, pause * 1.3)
        return found

    def log(
        self,
        job: str,
        *,
        attempt: int | None = None,
        rank: int | None = None,
        tail: int | None = None,
        since: str | None = None,
        lines: str | None = None,
        readable: bool = False,
        colour: bool = True,
    ) -> Iterator[bytes]:
        """The stored log of one attempt (the current one), part by part; waits for no more of it.

        ``tail`` lines at its end, what came ``since`` a time (``10m`` ago, or an ISO time), or
        ``lines`` such as ``120-140``. ``readable`` gives rows as a terminal would show them instead
        of the bytes as they were printed.
        """
        view = {"view": "readable", "colour": int(colour)} if readable else {}
        yield from self.transport.stream(
            log_path(job, attempt=attempt, rank=rank, tail=tail, since=since, lines=lines, **view)
        )

    def log_rows(
        self,
        job: str,
        *,
        first: int = 1,
        count: int = 500,
        attempt: int | None = None,
        rank: int | None = None,
        text: str | None = None,
    ) -> LogRows:
        """Rows of the readable log from number ``first`` on; a row is what a terminal would show.

        With ``text`` only those that hold it, of which ``first`` is counted. At most 5,000 rows and
        some MiB come at one time.
        """
        asked = {"first": first, "count": count, "attempt": attempt, "rank": rank, "q": text}
        return read_rows(self.rows_frame(job, asked))

    def rows_frame(self, job: str, asked: Mapping[str, object]) -> bytes:
        """The same as it came over the line."""
        return self.transport.frame(job_path(job, "log/rows", asked))

    def log_window(
        self,
        job: str,
        *,
        attempt: int | None = None,
        rank: int | None = None,
        tail: int | None = None,
        since: str | None = None,
        readable: bool = False,
    ) -> LogWindow:
        """Where that part of the stored log begins, for ``follow(after=…)``, and its size now.

        With ``readable`` its line is the number of a row, and its size is not known.
        """
        asked = {"attempt": attempt, "rank": rank, "tail": tail, "since": since}
        if tail is None and since is None:
            asked["lines"] = "1-"
        if readable:
            asked["view"] = "readable"
        headers = self.transport.head(log_path(job, **asked))
        return LogWindow(
            headers.get("Stoker-Cursor") or f"{attempt or 0}.{rank or 0}.0",
            int(headers.get("Stoker-Line") or 1),
            int(headers.get("Content-Length") or 0),
        )

    def follow(self, job: str, *, after: str = "0.0.0") -> Iterator[LogPiece | Gap | Job]:
        """The log from its first line to the job's end, as it comes; reconnects by itself.

        Yields the job whenever its state changes; ends after it has ended and all was read.
        """
        from stoker.following import followed

        for event in followed(
            self.url, job, after, ca=self.transport.ca, token=self.transport.token
        ):
            if event is not None:
                yield event

    def outputs(self, job: str, *, attempt: int | None = None) -> Outputs:
        """What is stored of an attempt's outputs; without a number, of the newest that has any."""
        asked: dict[str, object] = {"attempt": attempt, "limit": OUTPUTS_AT_ONCE}
        rows: list[Any] = []
        while True:
            answer = self.transport.get(job_path(job, "outputs", asked))
            rows += answer["files"]
            if not answer.get("more"):
                return read_outputs(answer, rows)
            asked |= {"attempt": answer["attempt"], "after": rows[-1]["path"]}

    def download(
        self,
        job: str,
        folder: str | Path,
        *,
        path: str | None = None,
        attempt: int | None = None,
        progress: Progress | None = None,
    ) -> list[Path]:
        """Writes outputs below ``folder``, whatever their names; ``path`` is one file or folder.

        What is there already is not fetched again, and what was cut off goes on.
        """
        found = self.outputs(job, attempt=attempt)
        files = found.files if path is None else found.under(path)
        return self.save_outputs(found, files, Path(folder), progress or (lambda _: None))

    def save_outputs(
        self, found: Outputs, files: Iterable[OutputFile], folder: Path, progress: Progress
    ) -> list[Path]:
        """Some files of one listing; ``progress`` is told the bytes of all of them."""
        folder.mkdir(parents=True, exist_ok=True)
        saved, done = [], 0
        for file in files:
            saved.append(self._save(found, file, folder, behind(progress, done)))
            done += file.size
        return saved

    def _save(self, found: Outputs, file: OutputFile, folder: Path, progress: Progress) -> Path:
        place = f"outputs/{quote(file.path, safe='/')}"
        path = job_path(found.job, place, {"attempt": found.attempt})

        def source(start: int) -> Iterator[bytes]:
            headers = {"Range": f"bytes={start}-", "If-Range": f'"{file.sha256}"'}
            return self.transport.stream(path, headers if start else None)

        def send() -> Path:
            try:
                return save(folder, file, source, progress)
            except Cut as error:
                raise Unreachable(str(error)) from error

        saved: Path = self.transport.repeated(send)
        return saved

    def packages(self, job: str, *, attempt: int | None = None) -> tuple[str, ...]:
        """What was installed, as ``pip freeze`` says it; empty where nobody knows (yet)."""
        try:
            path = job_path(job, "packages", {"attempt": attempt})
            text = b"".join(self.transport.stream(path)).decode()
        except Refused as error:
            if error.code != NO_PACKAGES:
                raise
            return ()
        return tuple(text.splitlines())

    def workers(self) -> tuple[Worker, ...]:
        answer = self.transport.get("/api/v1/workers")
        return tuple(read_worker(row) for row in answer["workers"])

    def drain(self, worker: str, drain: bool = True) -> None:
        """Takes nothing new (or again); what runs there goes on."""
        path = f"/api/v1/workers/{quote(worker, safe='')}/drain"
        self.transport.post(path, {"drain": drain})


def behind(progress: Progress, done: int) -> Progress:
    """Counts on from ``done`` bytes."""
    return lambda here: progress(done + here)


def log_path(job: str, **asked: object) -> str:
    return job_path(job, "log", asked)


def job_path(job: str, place: str, asked: Mapping[str, object]) -> str:
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    path = f"/api/v1/jobs/{quote(job, safe='')}/{place}"
    return f"{path}?{query}" if query else path


def problem_of(message: Mapping[str, Any]) -> Refused:
    """The refusal that a WebSocket's ``error`` message carries."""
    problem = message.get("problem") or {}
    return read_problem(int(problem.get("status") or 500), problem)
