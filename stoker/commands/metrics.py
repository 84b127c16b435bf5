"""``stoker metrics``: what did a job measure, and how do I get all of it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from stoker.answers import StokerError
from stoker.client import Client
from stoker.commands.common import AsJson, JobArgument, Server, one_job
from stoker.commands.outputs import printable
from stoker.packing import told_size
from stoker.terminal import ago, console, dim, say, show_json


def metrics(
    job: JobArgument = "last",
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every point, as CSV.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="The same, as Parquet.")
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option("--series", metavar="KEY", help="Only this one, log:loss say; repeatable."),
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Of this attempt.", show_default="the newest")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """List what a job measured, or write every point into a file."""
    client = Client(server)
    found = one_job(client, job).id
    path = f"/api/v1/jobs/{quote(found, safe='')}/metrics"
    for ending, file in (("csv", csv), ("parquet", parquet)):
        if file is not None:
            size = save(client, f"{path}.{ending}?{asked(series, attempt)}", file)
            say(f"{told_size(size)}, in {file}")
    if csv is not None or parquet is not None:
        return
    answer = client.transport.get(path)
    if as_json:
        show_json(answer)
        return
    attempts = answer["attempts"]
    chosen = [one for one in attempts if attempt in (None, one["attempt"])][-1:]
    if not chosen:
        raise StokerError(f"nothing was measured of {found} by now")
    show(chosen[0], series or [])
    for line in remarks(found, chosen[0], len(attempts)):
        say(dim(line))


def asked(series: list[str] | None, attempt: int | None) -> str:
    pairs: list[tuple[str, object]] = [("series", key) for key in series or []]
    if attempt is not None:
        pairs.append(("attempt", attempt))
    return urlencode(pairs)


def save(client: Client, path: str, file: Path) -> int:
    """Bytes; the file appears under its name when it is whole."""
    part = file.with_name(f"{file.name}.part")
    size = 0
    try:
        with part.open("wb") as written:
            for piece in client.transport.stream(path):
                size += written.write(piece)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return size


def show(attempt: dict[str, Any], keys: list[str]) -> None:
    from rich.table import Table

    rows = [one for one in attempt["series"] if not keys or {one["key"], one["name"]} & set(keys)]
    if keys and not rows:
        known = ", ".join(one["key"] for one in attempt["series"][:5])
        raise StokerError(f"there is no series {keys[0]!r}; there are {known}")
    table = Table(box=None, pad_edge=False)
    table.add_column("SERIES", overflow="fold")
    for title in ("POINTS", "LAST", "MIN", "MAX", "STEP"):
        table.add_column(title, justify="right")
    for one in rows:
        last = one["last_bad"] or number(one["last"])
        table.add_row(
            *(printable(one["key"]), f"{one['count']:,}", last),
            *(number(one["min"]), number(one["max"]), f"{one['last_step']:,}"),
        )
    console().print(table)
    for name, text in sorted(attempt["params"].items()):
        say(f"{printable(name)} = {printable(text)}")


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def remarks(job: str, attempt: dict[str, Any], attempts: int) -> list[str]:
    which = f" {attempt['attempt']} of {attempts}" if attempts > 1 else ""
    state = "complete" if attempt["complete"] else f"written {ago(attempt['at'])}"
    lines = [f"attempt{which or ' ' + str(attempt['attempt'])} of {job}: {state}"]
    return [*lines, *attempt["notes"]]
