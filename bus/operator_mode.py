"""How does a nats-server learn who may do what, and what becomes of a store from before that?"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path

from bus.keyring import Accounts, Keyring

log = logging.getLogger(__name__)

RESOLVER = "accounts"
"""Folder in which an embedded server keeps the accounts' tokens."""
NO_ACCOUNT = "$G"
"""Where a server without accounts keeps its streams."""


def embedded_lines(keyring: Keyring, data: Path) -> str:
    """For the configuration of the embedded server with that folder."""
    resolver = data / RESOLVER
    adopt_store(data / "store" / "jetstream", keyring.main)
    return server_lines(keyring.accounts(stored_accounts(resolver)), resolver)


def adopt_store(streams: Path, account: str) -> None:
    """What was stored without accounts belongs to the services' account from now on.

    The server must not run.
    """
    before, after = streams / NO_ACCOUNT, streams / account
    if before.is_dir() and not after.exists():
        log.info("the streams belong to the account of the services now")
        before.rename(after)


def stored_accounts(folder: Path) -> dict[str, str]:
    """What a server's resolver keeps there: public key to token."""
    with suppress(OSError):
        return {file.stem: file.read_text() for file in folder.glob("*.jwt")}
    return {}


def written_accounts(file: Path) -> dict[str, str]:
    """What ``server_lines`` wrote there before: public key to token."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in file.read_text().splitlines():
            public, colon, token = line.strip().partition(": ")
            if colon and public.startswith("A") and token.count(".") == 2:
                found[public] = token
    return found


def server_lines(accounts: Accounts, resolver: Path) -> str:
    """What a nats-server's configuration has to say of all this."""
    preload = "\n".join(f"  {public}: {token}" for public, token in accounts.tokens.items())
    return f"""\
operator: {accounts.operator}
system_account: {accounts.system}
resolver {{
  type: full
  dir: {json.dumps(str(resolver))}
  allow_delete: false
  interval: "2m"
}}
resolver_preload {{
{preload}
}}
"""
