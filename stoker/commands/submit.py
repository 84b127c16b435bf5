"""``stoker submit``: how does a folder or a .zip become a job?"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker.answers import Job, StokerError
from stoker.client import Client
from stoker.commands.common import AsJson, Server, one_job
from stoker.cut_memory import Memory
from stoker.cutting import cut_files
from stoker.datasets import mount_path
from stoker.packing import Plan, plan, told_files, told_size, without_top
from stoker.sending import Tell
from stoker.source import source_of
from stoker.terminal import dim, say, show_json

SKIPPED_SHOWN = 8
TOLD_FROM = 1 << 20
"""Bytes from which on it is said what makes a bundle big, and how much of it is sent."""
BAR_FROM = 1 << 20
"""Bytes from which on a progress bar is worth it."""

Option = typer.Option


def submit(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="A folder or a .zip.")] = None,
    entry: Annotated[str | None, Option(help="File to run.", show_default="main.py")] = None,
    name: Annotated[str | None, Option(help="A name for people.")] = None,
    pool: Annotated[str | None, Option(help="Which workers may take it.")] = None,
    priority: Annotated[int | None, Option(help="Higher goes first, -100 to 100.")] = None,
    cpus: Annotated[float | None, Option(help="Processor cores.")] = None,
    memory: Annotated[str | None, Option(help="Such as 512m or 4g.")] = None,
    gpus: Annotated[int | None, Option(help="GPUs.")] = None,
    shm: Annotated[str | None, Option(help="Size of /dev/shm.")] = None,
    disk: Annotated[str | None, Option(help="What it may write, 64g by default.")] = None,
    timeout: Annotated[str | None, Option(help="Longest run, such as 90, 15m or 1h30m.")] = None,
    idle_timeout: Annotated[
        str | None, Option(help="Longest silence of the program, such as 10m.")
    ] = None,
    queue_timeout: Annotated[
        str | None, Option(help="Longest wait for a worker, such as 2h.")
    ] = None,
    grace: Annotated[str | None, Option(help="From SIGTERM to SIGKILL, such as 30s.")] = None,
    retries: Annotated[int | None, Option(help="Tries after the first.")] = None,
    exclusive: Annotated[
        bool | None,
        Option(
            "--exclusive/--no-exclusive",
            help="Never runs twice at one time; ends when its worker is cut off.",
            show_default=False,
        ),
    ] = None,
    network: Annotated[
        str | None, Option(help="none, outbound (the internet alone) or full.")
    ] = None,
    python: Annotated[str | None, Option(help="Version, such as 3.12.")] = None,
    image: Annotated[str | None, Option(help="Base image instead of the pool's.")] = None,
    image_secret: Annotated[
        str | None,
        Option(metavar="NAME", help="A secret of yours, USER:PASSWORD at the image's registry."),
    ] = None,
    env: Annotated[
        list[str] | None, Option("--env", "-e", metavar="K=V", help="K alone takes your own value.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="A secret of yours; NAME=VARIABLE, NAME:/run/secrets/FILE."),
    ] = None,
    data: Annotated[
        list[str] | None,
        Option(
            metavar="NAME[@V]:/PATH",
            help="Data, read-only; also hf://, s3://, https:// and host:/FOLDER; repeatable.",
        ),
    ] = None,
    like: Annotated[
        str | None,
        Option(metavar="JOB", help="That job's spec; without PATH its files too."),
    ] = None,
    resume: Annotated[
        str | None, Option(metavar="JOB", help="Begin from that job's last checkpoint.")
    ] = None,
    follow: Annotated[bool, Option("--follow", "-f", help="Follow the log to the end.")] = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask about big files.")] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Say what of the folder would be sent; send nothing.")
    ] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Send a folder or a .zip and run it. The program's own arguments come after --."""
    if dry_run:
        told_plan(plan(path or Path()))
        return
    client = Client(server)
    old = one_job(client, like) if like else None
    spec: dict[str, Any] = {
        "entry": entry,
        "name": name,
        "pool": pool,
        "priority": priority,
        "resources": given(
            {"cpus": cpus, "memory": memory, "gpus": gpus, "shm": shm, "disk": disk}
        ),
        "timeout": timeout,
        "idle_timeout": idle_timeout,
        "queue_timeout": queue_timeout,
        "grace": grace,
        "retries": retries,
        "exclusive": exclusive,
        "network": network,
        "python": python,
        "image": image,
        "image_secret": image_secret,
        "resume": one_job(client, resume).id if resume else None,
        "environment": environment(env or []),
        "secrets": secret or [],
        "data": data or [],
        "arguments": context.obj or [],
    }
    job = sent(client, path, merged(old, given(spec)), old, yes)
    told(client, job, as_json)
    if follow:
        from stoker.commands.logs import follow_to_end

        follow_to_end(client, job.id)


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Only what was asked for: the rest is the server's to choose."""
    return {name: value for name, value in values.items() if value not in (None, {}, [])}


def merged(old: Job | None, new: dict[str, Any]) -> dict[str, Any]:
    """The old job's spec with what is new on top; resources and environment by entry, secrets by
    name, data by path."""
    base = dict(old.raw.get("spec") or {}) if old else {}
    if "secrets" in new:
        names = {re.split("[=:]", use)[0] for use in new["secrets"]}
        kept = [use for use in base.get("secrets") or [] if use["name"] not in names]
        new["secrets"] = [*kept, *new["secrets"]]
    if "data" in new:
        paths = {mount_path(text) for text in new["data"]}
        kept = [mount for mount in base.get("data") or [] if mount["path"] not in paths]
        new["data"] = [*kept, *new["data"]]
    for part in ("resources", "environment"):
        if part in new:
            new[part] = {**(base.get(part) or {}), **new[part]}
    return {**base, **new}


def environment(entries: list[str]) -> dict[str, str]:
    values = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals and name not in os.environ:
            raise StokerError(f"--env {name}: write {name}=VALUE, or set {name} in your own shell")
        values[name] = value if equals else os.environ[name]
    return values


def sent(
    client: Client, path: Path | None, spec: dict[str, Any], old: Job | None, yes: bool
) -> Job:
    key, like = secrets.token_hex(16), old.id if old else None
    if path is None:
        if old is None:
            raise StokerError("say what to send: stoker submit FOLDER, or --like JOB")
        return client.submit_stored(old.raw["bundle"], key=key, like=old.id, **spec)
    if not path.exists():
        raise StokerError(f"there is no {path}")
    spec.pop("source", None)  # it was told of other files
    if path.is_file():
        with bar("sending", path.stat().st_size) as progress:
            return client.send(path, spec, key, progress, like)
    made = plan(path)
    told_plan(made)
    if made.warnings and not yes:
        confirmed(made.warnings)
    spec.setdefault("name", path.resolve().name)
    spec.update(given({"source": source_of(path)}))
    return folder_sent(client, path, made, spec, key, like)


def folder_sent(
    client: Client, path: Path, made: Plan, spec: dict[str, Any], key: str, like: str | None
) -> Job:
    memory = Memory.of(path)
    files, top = without_top(made.files)
    if top:
        say(dim(f"the folder {top}/ around everything is taken off"))
    with bar("reading", made.size) as progress:
        cut = cut_files(files, memory, progress)
    memory.save()
    with sending(made.size) as tell:
        return client.send_cut(cut, spec, key, tell, like)


@contextmanager
def sending(size: int) -> Iterator[Tell]:
    """Says how much has to be sent, once, and shows how it goes."""
    with ExitStack() as stack:
        progress: Callable[[int], None] | None = None

        def tell(sent: int, total: int) -> None:
            nonlocal progress
            if progress is None:
                if size >= TOLD_FROM and total < size:
                    say(dim(f"sending {told_size(total)}: the rest is there already"))
                progress = stack.enter_context(bar("sending", total))
            progress(sent)

        yield tell


def told_plan(made: Plan) -> None:
    say(dim(told_files(len(made.files), made.size)))
    if made.size >= TOLD_FROM:
        named = (f"{file.name} ({told_size(file.size)})" for file in made.biggest)
        say(dim(f"biggest: {', '.join(named)}"))
    shown = [f"{name} ({why})" for name, why in list(made.skipped.items())[:SKIPPED_SHOWN]]
    if shown:
        more = len(made.skipped) - len(shown)
        say(dim(f"left out: {', '.join(shown)}{f' and {more} more' if more else ''}"))


def confirmed(warnings: list[str]) -> None:
    for warning in warnings:
        say(f"warning: {warning}")
    if sys.stdin.isatty() and sys.stderr.isatty() and not typer.confirm("Send it all?", err=True):
        raise StokerError("nothing was sent; list what to leave out in .stokerignore")


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; nothing elsewhere, or where it would only flash."""
    if total < BAR_FROM or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from stoker.terminal import console

    columns = ("{task.description}", BarColumn(), DownloadColumn(True), TransferSpeedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def told(client: Client, job: Job, as_json: bool) -> None:
    for note in job.notes:
        say(f"note: {note}")
    if as_json:
        return show_json(dict(job.raw))
    sys.stdout.write(f"{job.id}\n")
    sys.stdout.flush()
    say(dim(f"{job.state}; page: {client.url}/jobs/{job.id}"))
    return None
