"""``stoker logs`` and ``stoker wait``: what did the job print, and how did it end?"""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from stoker import exits
from stoker.answers import Gap, Job, LogPiece, StokerError
from stoker.client import Client
from stoker.commands.common import JobArgument, Server, one_job
from stoker.terminal import coloured, dim, outcome, say

QUIET = frozenset({"running", "succeeded", "failed", "cancelled"})
"""States that a follower needs no line for: the log itself tells, or the last line does."""


def logs(
    job: JobArgument = "last",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on to the end; ends with the job's own code.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(help="An earlier attempt's log.")] = None,
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="With -f: start behind this place.")
    ] = "0.0.0",
    server: Server = None,
) -> None:
    """Print a job's log, byte for byte."""
    client = Client(server)
    found = one_job(client, job)
    if follow:
        follow_to_end(client, found.id, after)
    for part in client.log(found.id, attempt=attempt):
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


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


def follow_to_end(client: Client, job: str, after: str = "0.0.0") -> None:
    """Prints the log as it comes; always raises ``typer.Exit`` with the code to end with."""
    printer = Printer()
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

    def __init__(self) -> None:
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
        for stream, data in piece.parts():
            plain = stream != "s" or not sys.stdout.isatty() or not coloured()
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
        if self.mid_line and sys.stdout.isatty():
            sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()
        self.mid_line = False
