"""``stoker data``: how is data put, listed, got back and deleted?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from stoker.answers import StokerError
from stoker.client import Client
from stoker.commands.common import AsJson, Server
from stoker.datasets import Dataset, Named, data_files
from stoker.packing import told_files, told_size
from stoker.terminal import ago, console, dim, say, show_json

SHOWN = 8
Name = Annotated[str, typer.Argument(metavar="NAME", help="[OWNER/]NAME[@VERSION]")]


def put(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a-z, 0-9 and '-'.")],
    path: Annotated[Path, typer.Argument(help="A folder, or one file.")],
    note: Annotated[str, typer.Option(help="For people: what is in it.")] = "",
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Put a folder as the next version of NAME. Only what the server has not is sent.

    All of it is taken, whatever ignore files say. Sent again after a cut, it goes on.
    """
    from stoker.commands.submit import bar

    client = Client(server)
    files, skipped = data_files(path)
    size = sum(file.size for file in files)
    say(dim(told_files(len(files), size)))
    told_skipped(skipped)
    with bar("reading", size) as reading, bar("sending", size) as sending:
        found, created = client.put_data(
            name, path, note=note, reading=reading, sending=total_of(sending)
        )
    if as_json:
        return show_json({**found.raw, "created": created})
    newest = found.newest
    if not created:
        say(f"nothing changed: {found.name}@{newest.number} holds the same")
    sys.stdout.write(f"{found.name}@{newest.number}\n")
    say(dim(f"a job gets it with --data {found.name}:/data/{found.name}"))
    return None


def total_of(tell: Callable[[int], None]) -> Callable[[int, int], None]:
    return lambda sent, total: tell(sent)


def told_skipped(skipped: dict[str, str]) -> None:
    shown = [f"{name!r} ({why})" for name, why in list(skipped.items())[:SHOWN]]
    if shown:
        more = len(skipped) - len(shown)
        say(dim(f"left out: {', '.join(shown)}{f' and {more} more' if more else ''}"))


def list_data(as_json: AsJson = False, server: Server = None) -> None:
    """List the data that you may use: yours, and your teams'."""
    answer = Client(server).transport.get("/api/v1/data")
    if as_json:
        return show_json(answer["datasets"])
    from stoker.datasets import read_dataset

    found = [read_dataset(row) for row in answer["datasets"]]
    if not found:
        say("no data yet; put some with: stoker data put NAME FOLDER")
        return None
    rows = [
        (called(one, answer["you"]), f"@{one.newest.number}", told_size(one.newest.size),
         f"{one.newest.files:,} files", ago(one.newest.at), one.newest.note)
        for one in found
    ]  # fmt: skip
    table(("NAME", "NEWEST", "SIZE", "FILES", "PUT", "NOTE"), rows)
    return None


def show(name: Name, as_json: AsJson = False, server: Server = None) -> None:
    """Show the versions of NAME, the newest first."""
    found = Client(server).dataset(name)
    if as_json:
        return show_json(dict(found.raw))
    asked = Named.of(name).version
    versions = [one for one in found.versions if asked in (None, one.number)]
    if not versions:
        raise StokerError(f"{found.name} has no version {asked}")
    rows = [
        (f"@{one.number}", told_size(one.size), f"{one.files:,} files", ago(one.at),
         one.tree[:12], one.note)
        for one in reversed(versions)
    ]  # fmt: skip
    table(("VERSION", "SIZE", "FILES", "PUT", "TREE", "NOTE"), rows)
    return None


def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = None,
) -> None:
    """Delete a version of NAME, or all of them. Jobs that name it fail when they start."""
    client = Client(server)
    found, asked = client.dataset(name), Named.of(name)
    count = len(found.versions)
    what = f"version {asked.version}" if asked.version else f"all {count} versions"
    if not yes and sys.stdin.isatty() and not typer.confirm(f"Delete {what} of {found.name}?"):
        raise StokerError("nothing was deleted")
    client.remove_data(name)
    say(f"{what} of {found.name}: deleted")


def get(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Where to; made if missing.")],
    server: Server = None,
) -> None:
    """Write a version of NAME into a folder. Asked again, it goes on."""
    from stoker.commands.submit import bar

    client = Client(server)
    version, files = client.data_listing(name)
    size = sum(file.size for file in files)
    with bar("getting", size) as progress:
        asked = Named.of(name)
        owner = "" if asked.owner == "~" else f"{asked.owner}/"
        client.get_data(f"{owner}{asked.name}@{version}", folder, progress)
    say(f"{asked.name}@{version}: {told_files(len(files), size)}, in {folder}")


def called(one: Dataset, you: str) -> str:
    return one.name if one.owner == you else f"{one.owner}/{one.name}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    for title in head:
        made.add_column(title, justify="right" if title == "SIZE" else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape("".join(c for c in text if c.isprintable())) for text in row))
    console().print(made)
