"""``stoker outputs``: what did a job write, and how do I get it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stoker.answers import StokerError
from stoker.client import Client
from stoker.commands.common import AsJson, JobArgument, Server, one_job
from stoker.packing import told_files, told_size
from stoker.terminal import ago, console, dim, say, show_json

if TYPE_CHECKING:
    from stoker.outputs import OutputFile, Outputs

NOTES_SHOWN = 10


def outputs(
    job: JobArgument = "last",
    path: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="Only this file, or folder.")
    ] = None,
    get: Annotated[
        Path | None, typer.Option("--get", metavar="DIR", help="Write them into this folder.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Of this attempt.", show_default="the newest")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """List what a job wrote into its outputs, or get it. Asked again, --get goes on."""
    client = Client(server)
    found = client.outputs(one_job(client, job).id, attempt=attempt)
    files = found.under(path) if path else found.files
    if path and not files:
        raise StokerError(f"attempt {found.attempt} of {found.job} has no output {path!r}")
    if get is not None:
        written(client, found, files, get)
    elif as_json:
        show_json({**found.raw, "files": [row(file) for file in files], "more": False})
        return
    else:
        show(files)
    for line in remarks(found):
        say(dim(line))


def row(file: OutputFile) -> dict[str, object]:
    return {name: getattr(file, name) for name in file.__slots__}


def written(client: Client, found: Outputs, files: tuple[OutputFile, ...], folder: Path) -> None:
    from stoker.commands.submit import bar

    total = sum(file.size for file in files)
    with bar("getting", total) as progress:
        client.save_outputs(found, files, folder, progress)
    say(f"{told_files(len(files), total)}, in {folder}")


def show(files: tuple[OutputFile, ...]) -> None:
    from rich.table import Table

    if not files:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("SIZE", justify="right")
    table.add_column("WRITTEN")
    table.add_column("PATH", overflow="fold")
    for file in files:
        table.add_row(told_size(file.size), ago(file.modified), printable(file.path))
    console().print(table)


def printable(path: str) -> str:
    """Names are a job's choice: none of them steers the terminal, or the table."""
    from rich.markup import escape

    return escape(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)
    )


def remarks(found: Outputs) -> list[str]:
    """What else is to be said of them."""
    count = len(found.files)
    lines = [f"attempt {found.attempt}: {told_files(count, found.size)}"]
    if not found.final:
        lines.append("not complete: what is stored by now" if count else "nothing is stored by now")
    if found.over:
        lines.append(found.over)
    lines += [
        f"left out: {printable(path)}, {printable(why)}" for path, why in found.notes[:NOTES_SHOWN]
    ]
    if found.left_out > NOTES_SHOWN:
        lines.append(f"left out: {found.left_out - NOTES_SHOWN} more")
    return lines
