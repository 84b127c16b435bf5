"""``stoker logs`` and ``stoker wait``: what did the job print, and how did it end?"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from bus.row_values import Rows, RowSpan
from schemas.stream import Stream
from stoker import exits
from stoker.answers import Gap, Job, LogPiece, StokerError, read_frame
from stoker.client import Client
from stoker.commands.common import JobArgument, Server, one_job
from stoker.log_lines import RowFilter, pattern
from stoker.readable import STILL, FollowedRows
from stoker.terminal import coloured, dim, outcome, say

QUIET = frozenset({"running", "succeeded", "failed", "cancelled"})
"""States that a follower needs no line for: the log itself tells, or the last line does."""

PAGE_ROWS = 5000
"""Rows that are asked for at one time."""


def logs(
    job: JobArgument = "last",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on to the end; ends with the job's own code.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="An earlier attempt's log.")] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="Of a job in several containers.")] = None,
    tail: Annotated[int | None, typer.Option(min=0, help="Only so many lines at its end.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what came since: 10m ago, or a time.")
    ] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Only lines in which it is found.")
    ] = None,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", "-t", help="When each line was printed.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Byte for byte as it was printed, nothing added.")
    ] = False,
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="With -f: start behind this place.")
    ] = "0.0.0",
    server: Server = None,
) -> None:
    """Print a job's log, as a terminal would show it: what was painted over is left out.

    Followed with -f on a terminal it is what the program prints, as it prints it; into a file or a
    pipe each line comes once it is done.
    """
    if raw and (grep or timestamps):
        raise StokerError("--raw prints bytes, not lines: leave out --grep and --timestamps")
    client = Client(server)
    found = one_job(client, job)
    filter = RowFilter(pattern(grep) if grep else None, timestamps)
    part = {"attempt": attempt, "rank": rank, "tail": tail, "since": since}
    asked: dict[str, Any] = {name: value for name, value in part.items() if value is not None}
    if follow:
        begin = client.log_window(found.id, **asked).cursor if asked else after
        follow_to_end(client, found.id, begin, printer_of(raw, filter))
    if not timestamps:
        parts = client.log(found.id, **asked, readable=not raw, colour=filter.colour)
        sys.stdout.buffer.writelines(filter.lines_of(parts))
    elif found.attempt:
        print_rows(client, found.id, asked, filter)
    sys.stdout.buffer.flush()


def printer_of(raw: bool, filter: RowFilter) -> Printer | RowPrinter:
    """A terminal shows the bytes by itself; lines are made where lines are wanted."""
    if raw or (filter.takes_all and sys.stdout.isatty()):
        return Printer(raw)
    return RowPrinter(filter)


def print_rows(client: Client, job: str, asked: dict[str, Any], filter: RowFilter) -> None:
    """Those of what is stored by now that are wanted."""
    window = client.log_window(job, **asked, readable=True)
    attempt, rank, _ = window.cursor.split(".")
    first, total = window.line, None
    while total is None or first <= total:
        place = {"first": first, "count": PAGE_ROWS, "attempt": attempt, "rank": rank}
        header, data = read_frame(client.rows_frame(job, place))
        total = header["total"] if total is None else total
        if not header["count"]:
            return
        spans = (RowSpan(Stream(stream), count, at) for stream, count, at in header["spans"])
        sys.stdout.buffer.writelines(filter.lines(Rows(first, data, tuple(spans))))
        first += header["count"]


def wait(
    job: JobArgument = "last",
    timeout: Annotated[
        float | None, typer.Option(help="Seconds; then it ends with code 124.")
    ] = None,
    server: Server = None,
) -> None:
    """Wait until a job has ended; ends with the job's own code."""
    client = Client(server)
    found = one_job(client, job)
    try:
        ended = client.wait(found.id, timeout)
    except TimeoutError as error:
        say(f"stoker: {error}")
        raise typer.Exit(exits.TIMED_OUT) from None
    except KeyboardInterrupt:
        raise detached(found.id) from None
    say(f"{ended.id} {outcome(ended)}")
    raise typer.Exit(exits.code_of(ended))


def follow_to_end(
    client: Client,
    job: str,
    after: str = "0.0.0",
    printer: Printer | RowPrinter | None = None,
) -> None:
    """Prints the log as it comes; always raises ``typer.Exit`` with the code to end with."""
    from stoker.following import followed

    printer = printer or printer_of(raw=False, filter=RowFilter())
    try:
        for event in followed(
            client.url, job, after, printer.patience, client.transport.ca, client.transport.token
        ):
            printer.show(event)
        ended = settled(client, job)
    except KeyboardInterrupt:
        printer.finish()
        raise detached(job) from None
    printer.finish()
    say(f"{ended.id} {outcome(ended)}")
    raise typer.Exit(exits.code_of(ended))


def settled(client: Client, job: str) -> Job:
    """The record after the last line: it may follow the log by a moment."""
    try:
        return client.wait(job, timeout=30)
    except TimeoutError as error:
        raise StokerError(f"the log has ended, but {error}") from error


def detached(job: str) -> typer.Exit:
    say(f"Detached: job {job} goes on. Come back with: stoker logs -f {job}")
    return typer.Exit(exits.DETACHED)


class Teller:
    """Says on standard error what is Stoker's own: states, attempts."""

    patience: float | None = None
    """Seconds without news after which ``show`` is called with nothing."""

    def __init__(self) -> None:
        self.state = ""
        self.attempt = 0

    def new_attempt(self, piece: LogPiece) -> bool:
        """Whether another attempt's log begins; told where it is not the first."""
        if piece.attempt == self.attempt:
            return False
        if self.attempt:
            self.finish()
            say(f"[stoker: attempt {piece.attempt}]")
        self.attempt = piece.attempt
        return True

    def show_state(self, job: Job) -> None:
        if job.state == self.state:
            return
        self.state = job.state
        if job.state not in QUIET:
            why = f": {job.explanation}" if job.explanation else ""
            say(dim(f"· {time.strftime('%H:%M:%S')} {job.state}{why}"))

    def finish(self) -> None:
        """What is left."""


class Printer(Teller):
    """Writes a followed log to standard output byte for byte."""

    def __init__(self, raw: bool = False) -> None:
        super().__init__()
        self.raw = raw
        self.mid_line = False

    def show(self, event: LogPiece | Gap | Job | None) -> None:
        match event:
            case LogPiece():
                self.show_piece(event)
            case Gap():
                self.finish()
                say(f"[stoker: {event.text}]")
            case Job():
                self.show_state(event)

    def show_piece(self, piece: LogPiece) -> None:
        self.new_attempt(piece)
        out = sys.stdout.buffer
        for stream, data in piece.parts():
            plain = self.raw or stream != "s" or not sys.stdout.isatty() or not coloured()
            out.write(data if plain else b"\033[2m" + data.rstrip(b"\n") + b"\033[0m\n")
        out.flush()
        self.mid_line = not piece.data.endswith(b"\n")

    def finish(self) -> None:
        """Starts a new line where the program left one open."""
        if self.mid_line and sys.stdout.isatty():
            sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()
        self.mid_line = False


class RowPrinter(Teller):
    """Writes the rows of a followed log to standard output, each once it is done."""

    patience = STILL

    def __init__(self, filter: RowFilter) -> None:
        super().__init__()
        self.filter = filter
        self.rows = FollowedRows()

    def show(self, event: LogPiece | Gap | Job | None) -> None:
        match event:
            case LogPiece():
                if self.new_attempt(event):
                    self.rows = FollowedRows()
                self.write(self.rows.feed(event, time.monotonic()))
            case Gap():
                self.write(self.rows.feed(event, time.monotonic()))
            case Job():
                self.show_state(event)
            case None:
                self.write(self.rows.look(time.monotonic()))

    def finish(self) -> None:
        self.write(self.rows.finish())

    def write(self, runs: Iterable[Rows]) -> None:
        for rows in runs:
            sys.stdout.buffer.writelines(self.filter.lines(rows))
        sys.stdout.buffer.flush()
