"""``stoker nats-accounts``: how does a NATS of your own learn who may do what?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from stoker.answers import StokerError
from stoker.terminal import say

FILE = "accounts.conf"


def nats_accounts(
    folder: Annotated[
        Path | None, typer.Argument(help="For keys and credentials; made where it is missing.")
    ] = None,
    resolver: Annotated[
        Path, typer.Option(help="Folder in which the server keeps the accounts.")
    ] = Path("/var/lib/nats/accounts"),
    permissions: Annotated[
        bool, typer.Option("--permissions", help="Print who may say and hear what, and stop.")
    ] = False,
) -> None:
    """Make the identities for a NATS of your own: keys, credentials, lines for its configuration.

    Repeated, it makes what is missing, and writes the accounts as this version wants them.
    """
    from bus.permissions_text import markdown

    if permissions:
        sys.stdout.write(markdown())
        return
    if folder is None:
        raise StokerError("name a folder for the keys, or ask for --permissions")
    made = write_accounts(folder.absolute(), resolver)
    say(f'{made}: add `include "{made.name}"` to the server\'s configuration (beside it)')
    say(f"{folder}: one .creds file for each service; keys.json belongs to identity alone")


def write_accounts(folder: Path, resolver: Path) -> Path:
    from bus.errors import BusError
    from bus.keyring import open_keyring
    from bus.keys import write_private
    from bus.operator_mode import server_lines, stored_accounts, written_accounts

    try:
        keyring = open_keyring(folder, make=True)
        keyring.issue_all()
        known = {**written_accounts(folder / FILE), **stored_accounts(resolver)}
        text = server_lines(keyring.accounts(known), resolver)
        write_private(folder / FILE, text)
    except BusError as error:
        raise StokerError(str(error)) from error
    return folder / FILE
