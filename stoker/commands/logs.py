"""``stoker logs`` and ``stoker wait``: what did the job print, and how did it end?"""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from stoker import exits
from stoker.answers import Gap, Job, LogPiece, LogWindow, StokerError
from stoker.client import Client
from stoker.commands.common import JobArgument, Server, one_job
from stoker.log_lines import Lines, pattern
from stoker.terminal import coloured, dim, outcome, say

QUIET = frozenset({"running", "succeeded", "failed", "cancelled"})
"""States that a follower needs no line for: the log itself tells, or the last line does."""


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
        bool, typer.Option("--raw", help="Byte for byte, nothing coloured or added.")
    ] = False,
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="With -f: start behind this place.")
    ] = "0.0.0",
    server: Server = None,
) -> None:
    """Print a job's log."""
    if raw and (grep or timestamps):
        raise StokerError("--raw prints bytes, not lines: leave out --grep and --timestamps")
    client = Client(server)
    found = one_job(client, job)
    lines = Lines(pattern(grep) if grep else None, timestamps) if grep or timestamps else None
    part = {"attempt": attempt, "rank": rank, "tail": tail, "since": since}
    asked: dict[str, Any] = {name: value for name, value in part.items() if value is not None}
    printer = Printer(lines, raw)
    if follow:
        begin = client.log_window(found.id, **asked).cursor if asked else after
        follow_to_end(client, found.id, begin, printer)
    if lines is None:
        for data in client.log(found.id, **asked):
            sys.stdout.buffer.write(data)
    elif found.attempt:
        print_stored(client, found.id, client.log_window(found.id, **asked), printer)
    sys.stdout.buffer.flush()


def print_stored(client: Client, job: str, window: LogWindow, printer: Printer) -> None:
    """What is stored by now, with what only the live way tells: when each piece came."""
    if window.start == window.stop:
        return
    for event in client.follow(job, after=window.cursor):
        if isinstance(event, LogPiece | Gap):
            printer.show(event)
        if isinstance(event, LogPiece) and event.offset + len(event.data) >= window.stop:
            break
    printer.finish()


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
    client: Client, job: str, after: str = "0.0.0", printer: Printer | None = None
) -> None:
    """Prints the log as it comes; always raises ``typer.Exit`` with the code to end with."""
    printer = printer or Printer()
    try:
        for event in client.follow(job, after=after):
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


class Printer:
    """Writes a followed log to standard output, and what is Stoker's own to standard error."""

    def __init__(self, lines: Lines | None = None, raw: bool = False) -> None:
        self.lines = lines
        self.raw = raw
        self.state = ""
        self.attempt = 0
        self.mid_line = False

    def show(self, event: LogPiece | Gap | Job) -> None:
        match event:
            case LogPiece():
                self.show_piece(event)
            case Gap():
                self.finish()
                say(f"[stoker: {event.text}]")
            case Job():
                self.show_state(event)

    def show_piece(self, piece: LogPiece) -> None:
        if piece.attempt != self.attempt:
            if self.attempt:
                self.finish()
                say(f"[stoker: attempt {piece.attempt}]")
            self.attempt = piece.attempt
        out = sys.stdout.buffer
        if self.lines is not None:
            out.writelines(self.lines.feed(piece))
            out.flush()
            return
        for stream, data in piece.parts():
            plain = self.raw or stream != "s" or not sys.stdout.isatty() or not coloured()
            out.write(data if plain else b"\033[2m" + data.rstrip(b"\n") + b"\033[0m\n")
        out.flush()
        self.mid_line = not piece.data.endswith(b"\n")

    def show_state(self, job: Job) -> None:
        if job.state == self.state:
            return
        self.state = job.state
        if job.state not in QUIET:
            why = f": {job.explanation}" if job.explanation else ""
            say(dim(f"· {time.strftime('%H:%M:%S')} {job.state}{why}"))

    def finish(self) -> None:
        """Starts a new line where the program left one open."""
        if self.lines is not None:
            sys.stdout.buffer.writelines(self.lines.finish())
            sys.stdout.buffer.flush()
        if self.mid_line and sys.stdout.isatty():
            sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()
        self.mid_line = False
