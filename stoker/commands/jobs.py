"""``stoker jobs``, ``show``, ``cancel``, ``retry``: what is there, and what shall become of it?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer

from stoker.answers import JobPage
from stoker.client import Client
from stoker.commands.common import AsJson, JobArgument, Server, one_job
from stoker.terminal import (
    console,
    counts_line,
    dim,
    job_page,
    jobs_table,
    outcome,
    say,
    show_json,
)

EVERY = 1.0
"""Seconds between two looks of ``jobs --watch``."""


def jobs(
    state: Annotated[
        str | None, typer.Option(help="Only these states, such as running or queued,running.")
    ] = None,
    text: Annotated[str | None, typer.Option("--text", help="Only where this is found.")] = None,
    pool: Annotated[str | None, typer.Option(help="Only this pool.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep it up to date.")] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """List jobs, newest first."""
    client = Client(server)

    def page() -> JobPage:
        return client.jobs(state=state, text=text, pool=pool, limit=limit)

    if watch:
        watched(page)
        return None
    found = page()
    if as_json:
        rows = [dict(job.raw) for job in found.jobs]
        return show_json({"jobs": rows, "counts": dict(found.counts), "more": found.more})
    if found.jobs:
        console().print(jobs_table(found))
    say(dim(counts_line(found)))
    return None


def watched(page: Callable[[], JobPage]) -> None:
    from rich.console import Group
    from rich.live import Live

    with Live(console=console(), auto_refresh=False, screen=False) as live:
        try:
            while True:
                found = page()
                live.update(Group(jobs_table(found), counts_line(found)), refresh=True)
                time.sleep(EVERY)
        except KeyboardInterrupt:
            return


def show(job: JobArgument = "last", as_json: AsJson = False, server: Server = None) -> None:
    """All about one job: state, reason, environment, timeline, and why it waits."""
    client = Client(server)
    found = one_job(client, job)
    again = {**(found.raw.get("reproduce") or {}), "packages": client.packages(found.id)}
    checkpoint = client.checkpoint(found.id)
    found = replace(found, raw={**found.raw, "reproduce": again, "checkpoint": checkpoint})
    if as_json:
        return show_json({**found.raw, "explanation": found.explanation})
    console().print(job_page(found))
    return None


def cancel(job: JobArgument, as_json: AsJson = False, server: Server = None) -> None:
    """Stop a job, or keep it from starting."""
    client = Client(server)
    found = client.cancel(one_job(client, job).id)
    if as_json:
        return show_json(dict(found.raw))
    say(f"{found.id} {outcome(found) if found.ended else found.state}")
    return None


def retry(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the new log.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Begin from its last checkpoint.")
    ] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Submit an ended job again, as a new one."""
    from stoker.commands.submit import told

    client = Client(server)
    new = client.retry(one_job(client, job).id, resume=resume)
    told(client, new, as_json)
    if follow:
        from stoker.commands.logs import follow_to_end

        follow_to_end(client, new.id)
