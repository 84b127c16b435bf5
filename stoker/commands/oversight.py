"""``stoker quota`` and ``stoker audit``: who may have how much, and who did what?"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from stoker.answers import StokerError
from stoker.client import Client
from stoker.commands.common import AsJson, Server
from stoker.limits import KINDS, read_limits
from stoker.packing import told_size
from stoker.terminal import console, show_json

EVERY = 1.0
"""Seconds between two looks of ``--follow``."""
PAGE = 500
User = Annotated[str, typer.Argument(metavar="USER")]


def own_quota(context: typer.Context, as_json: AsJson = False, server: Server = None) -> None:
    if context.invoked_subcommand is None:
        show_quota(None, as_json, server)


def show_quota(
    user: Annotated[
        str | None, typer.Argument(metavar="USER", help="Yours if left out; others are admins'.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Show limits, and what is used of them."""
    path = f"/api/v1/quotas/{quote(user, safe='')}" if user else "/api/v1/quota"
    shown = Client(server).transport.get(path)
    if as_json:
        return show_json(shown)
    print_quota(shown)
    return None


def list_quotas(as_json: AsJson = False, server: Server = None) -> None:
    """List the limits of everybody, and of those who have their own."""
    found = Client(server).transport.get("/api/v1/quotas")
    if as_json:
        return show_json(found)
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("user", *KINDS):
        table.add_column(name)
    table.add_row("everybody", *(told(kind, found["everybody"][kind]) for kind in KINDS))
    for one in found["users"]:
        own = one["limits"]
        table.add_row(one["user"], *(told(k, own[k]) if k in own else "" for k in KINDS))
    console().print(table)
    return None


def set_quota(
    user: User,
    limits: Annotated[
        list[str],
        typer.Argument(
            metavar="KIND=LIMIT…", help="Of running, queued, storage, upload; or none, default."
        ),
    ],
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Set one user's limits: stoker quota set ann running=4 storage=20g queued=none

    What is not named stays; =default takes a limit back to everybody's.
    """
    asked = read_limits("", limits)
    body = {"limits": dict(asked.set), "clear": list(asked.clear)}
    shown = Client(server).transport.put(f"/api/v1/quotas/{quote(user, safe='')}", body)
    if as_json:
        return show_json(shown)
    print_quota(shown)
    return None


def print_quota(shown: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in (shown["user"], "used", "limit", ""):
        table.add_column(name)
    for kind in KINDS:
        used = shown["used"].get(kind)
        own = "set for this user" if kind in shown["own"] else ""
        limit = told(kind, shown["limits"][kind])
        table.add_row(kind, "" if used is None else told(kind, used), limit, own)
    console().print(table)


def told(kind: str, limit: int | None) -> str:
    if limit is None:
        return "no limit"
    return told_size(limit) if KINDS[kind] else str(limit)


def audit(
    who: Annotated[str | None, typer.Option(help="Only what this user or machine did.")] = None,
    deed: Annotated[
        list[str] | None, typer.Option(help="Only this, such as submit; repeatable.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only what was done to this.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="10m, or an ISO time.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Likewise.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The last so many.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="And what comes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    server: Server = None,
) -> None:
    """Show who did what and when, oldest first; for admins."""
    if follow and until:
        raise StokerError("--follow goes on for ever: leave out --until")
    client = Client(server)
    asked = {"who": who, "deed": ",".join(deed or ()), "target": target, "since": since}
    entries, last = latest(client, {**asked, "until": until}, limit)
    print_entries(entries, as_json)
    while follow:
        time.sleep(EVERY)
        entries, last = newer(client, asked, last)
        print_entries(entries, as_json)


def latest(
    client: Client, asked: Mapping[str, object], limit: int
) -> tuple[list[dict[str, Any]], int]:
    """The last entries, oldest first, and the sequence after which new ones come."""
    found: list[dict[str, Any]] = []
    page = page_of(client, {**asked, "limit": min(limit, PAGE)})
    last = int(page["last"])
    found += page["entries"]
    while page["before"] is not None and len(found) < limit:
        more = {"before": page["before"], "limit": min(limit - len(found), PAGE)}
        page = page_of(client, {**asked, **more})
        found += page["entries"]
    return found[::-1], last


def newer(
    client: Client, asked: Mapping[str, object], after: int
) -> tuple[list[dict[str, Any]], int]:
    """All that came after that sequence, oldest first."""
    page = page_of(client, {**asked, "after": after, "limit": PAGE})
    found, last = list(page["entries"]), int(page["last"])
    while page["before"] is not None:
        more = {"after": after, "before": page["before"], "limit": PAGE}
        page = page_of(client, {**asked, **more})
        found += page["entries"]
    return found[::-1], last


def page_of(client: Client, asked: Mapping[str, object]) -> Any:
    query = urlencode({name: value for name, value in asked.items() if value not in (None, "")})
    return client.transport.get(f"/api/v1/audit?{query}")


def print_entries(entries: list[dict[str, Any]], as_json: bool) -> None:
    for one in entries:
        if as_json:
            sys.stdout.write(json.dumps(one, ensure_ascii=False) + "\n")
            continue
        at = datetime.fromtimestamp(one["stored_at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        source = f"  from {one['address']}" if one["address"] else ""
        who, detail = one["who"] or "-", f"  {one['detail']}" if one["detail"] else ""
        line = f"{at}  {who:<12} {one['deed']:<15} {one['target']}{detail}{source}"
        sys.stdout.write("".join(c if c.isprintable() else "?" for c in line) + "\n")
    sys.stdout.flush()
