"""How do jobs, workers and errors look in a terminal?"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stoker.answers import Job, JobPage, Worker, current_attempt
from stoker.made_of import made_of
from stoker.packing import told_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLOURS = {
    "waiting": "yellow",
    "queued": "yellow",
    "starting": "cyan",
    "running": "bold cyan",
    "cancelling": "magenta",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
}


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def say(text: str) -> None:
    """A line for a person, on standard error: standard output belongs to data."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def dim(text: str) -> str:
    return f"\033[2m{text}\033[0m" if coloured() else text


def coloured() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


def show_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def ago(then: float | None, now: float | None = None) -> str:
    if not then:
        return ""
    return f"{duration(max(0.0, (now or time.time()) - then))} ago"


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 172800:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds / 86400:.0f} days"


def clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def outcome(job: Job) -> str:
    """``failed: the program ended with exit code 1``"""
    took = ""
    if job.started_at and job.ended_at:
        took = f" after {duration(job.ended_at - job.started_at)}"
    why = job.detail or (f"exit code {job.exit_code}" if job.exit_code else job.reason or "")
    if job.state == "succeeded" or not why:
        return f"{job.state}{took}"
    return f"{job.state}{took}: {why}"


def ran(job: Job) -> str:
    if not job.started_at:
        return ""
    return duration((job.ended_at or time.time()) - job.started_at)


def jobs_table(page: JobPage) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("JOB", "NAME", "STATE", "SUBMITTED", "RAN", "WORKER", "WHY"):
        table.add_column(
            head, no_wrap=head != "WHY", overflow="ellipsis" if head == "NAME" else "fold"
        )
    for job in page.jobs:
        why = "" if job.succeeded else job.detail or job.reason or ""
        table.add_row(
            job.id,
            Text(job.name),
            Text(job.state, COLOURS.get(job.state, "")),
            ago(job.submitted_at),
            ran(job),
            job.worker or "",
            Text(why),
        )
    return table


def counts_line(page: JobPage) -> str:
    told = ", ".join(f"{count} {state}" for state, count in page.counts.items() if count)
    return f"{told or 'no jobs'}{' (more with --limit)' if page.more else ''}"


def workers_table(workers: Iterable[Worker]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("WORKER", "POOL", "RUNTIME", "JOBS", "CPUS", "MEMORY", "GPUS", "HEARD", "LABELS"):
        table.add_column(head)
    for worker in workers:
        state = " set aside" if worker.aside else " draining" if worker.draining else ""
        table.add_row(
            Text.assemble(worker.name, (state, "magenta")),
            worker.pool,
            worker.runtime,
            f"{worker.held}/{worker.slots}",
            f"{worker.cpus:g}",
            told_size(worker.memory),
            str(worker.gpus),
            ago(worker.heard_at),
            Text(" ".join(f"{k}={v}" for k, v in worker.labels.items())),
        )
    return table


def job_page(job: Job) -> Table:
    """All that a person asks of one job."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in job_lines(job):
        style = COLOURS.get(job.state, "") if name == "state" else ""
        table.add_row(name, Text(value, style))
    return table


def job_lines(job: Job) -> list[tuple[str, str]]:
    record = job.raw
    lines = [
        ("job", job.id),
        ("name", job.name),
        ("state", job.state if not job.ended else outcome(job)),
        ("reason", "" if job.succeeded else job.reason or ""),
        ("its log says", quote(record)),
        ("why it waits", job.explanation if not job.ended else ""),
        ("pool", job.pool),
        ("worker", job.worker or ""),
        ("asks for", asked(record.get("spec") or {})),
        ("command", command_line(record.get("spec") or {})),
        ("secrets", secrets_line(record.get("spec") or {})),
        ("environment", environment_line(record)),
        ("bundle", f"{record.get('bundle', '')} ({told_size(record.get('bundle_size', 0))})"),
        *made_of(record),
        *timeline(record),
    ]
    return [(name, value) for name, value in lines if value]


def quote(record: Any) -> str:
    """The lines that say why it failed, or why the attempt before did."""
    ends = [one["end"] for one in record.get("attempts") or () if one.get("end")]
    end = current_attempt(record).get("end") or (ends[-1] if ends else {})
    return "\n".join((end.get("quote") or {}).get("lines") or ())


def asked(spec: dict[str, Any]) -> str:
    resources = spec.get("resources") or {}
    told = [
        f"{resources.get('cpus', 1):g} cpus",
        f"{told_size(resources.get('memory', 0))} memory",
        f"{resources['gpus']} gpus" if resources.get("gpus") else "",
        f"at most {duration(spec['timeout'])}" if spec.get("timeout") else "",
        f"silent for at most {duration(spec['idle_timeout'])}" if spec.get("idle_timeout") else "",
        f"network {spec.get('network')}",
    ]
    return ", ".join(part for part in told if part)


def command_line(spec: dict[str, Any]) -> str:
    import shlex

    return shlex.join(["python", spec.get("entry") or "main.py", *spec.get("arguments", ())])


def secrets_line(spec: dict[str, Any]) -> str:
    """Names, and under which others the program finds them."""
    uses = spec.get("secrets") or []
    targets = [(use["name"], use.get("file") or use.get("variable") or use["name"]) for use in uses]
    return ", ".join(name if name == target else f"{name} as {target}" for name, target in targets)


def environment_line(record: Any) -> str:
    chosen = current_attempt(record).get("environment")
    if not chosen:
        return ""
    cached = "cached" if chosen.get("cached") else "built"
    return f"{chosen['source']} on {chosen['base']} ({cached})"


def timeline(record: Any) -> list[tuple[str, str]]:
    lines = []
    for entry in record.get("timeline") or ():
        attempt = f" (attempt {entry['attempt']})" if entry.get("attempt") else ""
        text = f": {entry['text']}" if entry.get("text") else ""
        lines.append((clock(entry["at"]), f"{entry['fact']}{attempt}{text}"))
    return lines
