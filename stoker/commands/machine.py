"""``stoker doctor``, ``decode``, ``nats-context``, ``version``: what helps a person look inside?"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import stoker
from stoker import config
from stoker.commands.common import AsJson, Server
from stoker.commands.join import NatsCa
from stoker.terminal import console, say, show_json

STYLES = {"PASS": "green", "FAIL": "bold red", "NOTE": "yellow"}


def doctor(
    data: Annotated[Path | None, typer.Option(help="The data folder of stoker up.")] = None,
    port: Annotated[int, typer.Option(help="The page's port.")] = config.PORT,
    nats_server: Annotated[Path | None, typer.Option(help="Your own nats-server.")] = None,
    as_json: AsJson = False,
    server: Server = None,
    nats: Annotated[
        str | None, typer.Option(envvar="STOKER_NATS", metavar="URL", help="NATS' address.")
    ] = None,
    credentials: Annotated[Path | None, typer.Option(help="A .creds file.")] = None,
    nats_ca: Annotated[
        Path | None, typer.Option(envvar="STOKER_NATS_CA", help="PEM of who vouches for NATS.")
    ] = None,
) -> None:
    """Check this machine: PASS, or FAIL with what to do. Ends with 1 where something fails."""
    from dataclasses import asdict

    from stoker.checks import Where, checks

    found = config.nats_credentials(credentials, nats)
    trust = config.nats_trust(nats_ca, nats)
    where = Where(server or config.page_url(), config.nats_servers(nats), found, trust)
    made = checks(config.data_folder(data), port, nats_server, where)
    if as_json:
        show_json([asdict(check) for check in made])
    else:
        for check in made:
            style = STYLES[check.state]
            console().print(f"[{style}]{check.state}[/] {check.name}:", end=" ")
            console().print(check.text, markup=False)
            if check.fix and check.state != "PASS":
                console().print(f"     → {check.fix}", markup=False)
    if any(check.state == "FAIL" for check in made):
        raise typer.Exit(1)


def decode(
    type_name: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="Such as JobFact; guessed without.")
    ] = None,
) -> None:
    """Read one message of the bus on standard input, print it as JSON."""
    from stoker import decode as module

    raise typer.Exit(module.main([type_name] if type_name else []))


def nats_context(
    name: Annotated[str, typer.Argument(help="Name of the context.")] = "stoker",
    nats: Annotated[
        str | None, typer.Option(envvar="STOKER_NATS", metavar="URL", help="NATS' address.")
    ] = None,
    credentials: Annotated[Path | None, typer.Option(help="A .creds file.")] = None,
    ca: NatsCa = None,
    select: Annotated[bool, typer.Option("--select", help="Make it the CLI's default.")] = False,
) -> None:
    """Write a context for the NATS CLI: nats --context stoker sub 'stoker.>'

    Of a running stoker up it is a user that sees everything, and changes nothing.
    """
    credentials = config.nats_credentials(credentials, nats, "debug")
    trust = config.nats_trust(ca, nats)
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "nats"
    (folder / "context").mkdir(parents=True, exist_ok=True)
    context = {
        "description": "Stoker",
        "url": ",".join(config.nats_servers(nats)),
        "creds": str(credentials.absolute()) if credentials else "",
        "inbox_prefix": inbox_of(credentials),
        "ca": str(trust.authority or ""),
    }
    file = folder / "context" / f"{name}.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(context, indent=2) + "\n")
    if select:
        (folder / "context.txt").write_text(name)
    say(f"{file} names {context['url']}; try: nats --context {name} stream ls")


def inbox_of(credentials: Path | None) -> str:
    """Where its answers may come; empty for the CLI's own choice."""
    if credentials is None:
        return ""
    from bus.tokens import identity_of

    return identity_of(credentials).inbox or ""


def version(as_json: AsJson = False) -> None:
    """Show the version."""
    if as_json:
        return show_json({"stoker": stoker.__version__, "python": sys.version.split()[0]})
    sys.stdout.write(f"stoker {stoker.__version__}\n")
    return None
