"""``stoker worker``: which machines are there, and which shall take nothing new?"""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.client import Client
from stoker.commands.common import AsJson, Server
from stoker.terminal import console, say, show_json, workers_table


def workers(as_json: AsJson = False, server: Server = None) -> None:
    """List the workers."""
    found = Client(server).workers()
    if as_json:
        return show_json([dict(worker.raw) for worker in found])
    if not found:
        say("no worker has been heard; start one with: stoker agent")
        return None
    console().print(workers_table(found))
    for worker in found:
        if worker.aside:
            say(f"{worker.name} {worker.aside}")
    return None


def drain(
    name: Annotated[str, typer.Argument(metavar="WORKER")],
    off: Annotated[bool, typer.Option("--off", help="Take up work again.")] = False,
    server: Server = None,
) -> None:
    """Let a worker finish what it runs and take nothing new."""
    Client(server).drain(name, not off)
    say(f"{name} takes up work again" if off else f"{name} takes nothing new")
