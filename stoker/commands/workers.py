"""``stoker worker``: which machines are there, who may come in, and who has to go?"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stoker import config
from stoker.answers import StokerError
from stoker.client import Client
from stoker.commands.common import AsJson, Server
from stoker.commands.join import Credentials, Nats, NatsCa
from stoker.terminal import console, say, show_json, workers_table

if TYPE_CHECKING:
    from stoker.admitting import Door

Name = Annotated[str, typer.Argument(metavar="WORKER")]


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
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Take up work again.")] = False,
    server: Server = None,
) -> None:
    """Let a worker finish what it runs and take nothing new."""
    Client(server).drain(name, not off)
    say(f"{name} takes up work again" if off else f"{name} takes nothing new")


def invite(
    name: Name,
    pool: Annotated[str, typer.Option(help="Whose jobs it will take.")] = "default",
    expires: Annotated[str, typer.Option(metavar="TIME", help="The line is void then.")] = "1h",
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Where the machine reaches NATS; repeatable."),
    ] = None,
    nats: Nats = None,
    credentials: Credentials = None,
    ca: NatsCa = None,
) -> None:
    """Print the line with which a new machine joins, once."""
    from schemas.spec import parse_duration

    try:
        life = parse_duration(expires)
    except ValueError as error:
        raise StokerError(f"--expires {expires}: {error}") from None
    door = door_of(nats, credentials, ca)
    servers = tuple(address or config.nats_outside(nats) or door.servers)
    token = door.invite(name, pool, life, servers)
    if not address and all(is_loopback(server) for server in servers):
        say("NATS listens on this machine alone; for another one, name where it is with --address")
    if door.trust.authority is None:
        warn_of_plain(servers)
    say(f"on {name}, within {expires}:")
    print_line(f"stoker agent --join {token}")


def revoke(
    name: Name, nats: Nats = None, credentials: Credentials = None, ca: NatsCa = None
) -> None:
    """Throw a worker out, its live connection included; void its open invitations."""
    door_of(nats, credentials, ca).revoke(name)
    say(f"{name} is thrown out; what it runs is lost to it, and goes to others")


def joined(
    as_json: AsJson = False, nats: Nats = None, credentials: Credentials = None, ca: NatsCa = None
) -> None:
    """List who was invited, who joined, and who was thrown out."""
    rows = door_of(nats, credentials, ca).known()
    if as_json:
        return show_json(rows)
    for row in rows:
        print_line(f"{row['worker']:<24} {row['pool']:<16} {row['state']}")
    return None


def door_of(nats: str | None, credentials: Path | None, ca: Path | None) -> Door:
    from stoker.admitting import Door

    known = config.nats_credentials(credentials, nats)
    return Door(config.nats_servers(nats), known, config.nats_trust(ca, nats))


def warn_of_plain(servers: Iterable[str]) -> None:
    for server in servers:
        if not server.startswith("tls://") and not is_loopback(server):
            say(f"careful: {server} is met without TLS: who listens in between reads everything")


def is_loopback(server: str) -> bool:
    return any(f"//{host}:" in server for host in ("127.0.0.1", "localhost", "[::1]"))


def print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
