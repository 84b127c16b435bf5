"""Which keys rule this Stoker's bus, and where do they lie?

A folder of its own, readable by its owner alone: ``keys.json`` with the seeds of operator, accounts
and roles, and ``<role>.creds`` for each service and for people. Whoever reads ``keys.json`` may do
all; a service that runs elsewhere needs its own ``.creds`` only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bus.accounts import (
    account_claims,
    account_token,
    fleet_account,
    main_account,
    operator_token,
    scope,
)
from bus.errors import BusError
from bus.keys import (
    ACCOUNT,
    OPERATOR,
    USER,
    BadKey,
    Key,
    credentials,
    read_credentials,
    write_private,
)
from bus.permissions import FLEET_ROLES, MAIN_ROLES, ROLES, SYSTEM_ROLE
from bus.tokens import Issuer, read_claims, user_token

KEYS_FILE = "keys.json"
ISSUED = (*(role.name for role in MAIN_ROLES), SYSTEM_ROLE.name)
SYSTEM, MAIN, FLEET = "SYS", "STOKER", "FLEET"


class KeyringError(BusError):
    """The folder of keys cannot be used; the message says what to change."""


@dataclass(frozen=True)
class Accounts:
    """Tokens of the accounts, by their public keys, for a server to begin with."""

    operator: str
    system: str
    """Public key of the server's own account."""
    tokens: Mapping[str, str]


class Keyring:
    """The keys of one bus. Its seeds never leave this process but for ``.creds`` files."""

    def __init__(self, folder: Path, seeds: Mapping[str, str]) -> None:
        self.folder = folder
        self._seeds = seeds
        self._keys: dict[str, Key] = {}

    def key(self, name: str) -> Key:
        """``operator``, ``SYS``, ``STOKER``, ``FLEET`` or a role's signing key."""
        if name not in self._keys:
            self._keys[name] = Key(self._seeds[name])
        return self._keys[name]

    @property
    def main(self) -> str:
        """Public key of the services' account: the name of its store, too."""
        return self.key(MAIN).public

    @property
    def fleet(self) -> str:
        return self.key(FLEET).public

    def issuer(self, role: str) -> Issuer:
        account = FLEET if role in {one.name for one in FLEET_ROLES} else MAIN
        if role == SYSTEM_ROLE.name:
            account = SYSTEM
        return Issuer(self.key(account).public, self.key(role))

    def creds(self, role: str) -> Path:
        return self.folder / f"{role}.creds"

    def issue(self, role: str) -> Path:
        """A .creds file for one user of the role, made where there is none; its path."""
        path = self.creds(role)
        issuer = self.issuer(role)
        with suppress(OSError, BadKey):
            claims = read_claims(read_credentials(path)[0])
            if claims.get("iss") == issuer.key.public and "exp" not in claims:
                return path
        key = Key.new(USER)
        token = user_token(issuer, role, key.public, int(time.time()))
        write_private(path, credentials(token, key))
        return path

    def issue_all(self) -> None:
        for role in ISSUED:
            self.issue(role)

    def fleet_claims(self, revoked: Mapping[str, int]) -> dict[str, Any]:
        scopes = [(role, self.key(role.name).public) for role in FLEET_ROLES]
        return fleet_account(self.fleet, self.main, scopes, revoked)

    def accounts(self, known: Mapping[str, str]) -> Accounts:
        """As this version of Stoker wants them; who is revoked in the ``known`` tokens stays so."""
        now = int(time.time())
        operator = self.key("operator")
        system = self.key(SYSTEM).public
        main = [(role, self.key(role.name).public) for role in MAIN_ROLES]
        signing = [scope(SYSTEM_ROLE, self.key(SYSTEM_ROLE.name).public)]
        revoked = revocations(known.get(self.fleet, ""))
        wanted = (
            account_claims(SYSTEM, system, signing_keys=signing),
            main_account(self.main, main),
            self.fleet_claims(revoked),
        )
        tokens = {
            claims["sub"]: renewed(claims, known.get(claims["sub"], ""), operator, now)
            for claims in wanted
        }
        return Accounts(operator_token(operator, system, now), system, tokens)


def renewed(claims: dict[str, Any], known: str, operator: Key, now: int) -> str:
    """The known token where it says the same; else a later one: servers take no earlier one."""
    before: dict[str, Any] = {}
    with suppress(BadKey):
        before = read_claims(known)
    if before.get("nats") == claims["nats"]:
        return known
    return account_token(claims, operator, max(now, int(before.get("iat", 0)) + 1))


def revocations(token: str) -> dict[str, int]:
    """Public key to the second before which its tokens do not count; none of what is no token."""
    with suppress(BadKey):
        return dict((read_claims(token).get("nats") or {}).get("revocations") or {})
    return {}


def open_keyring(folder: Path, *, make: bool = False) -> Keyring:
    """The keys of that folder; with ``make``, those that are missing are made.

    Raises ``KeyringError``.
    """
    path = folder / KEYS_FILE
    names = ["operator", SYSTEM, MAIN, FLEET, *ROLES]
    try:
        seeds = read_seeds(path)
        missing = [name for name in names if name not in seeds]
        if missing and make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            seeds |= {name: new_seed(name) for name in missing}
            write_private(path, json.dumps(seeds, indent=1) + "\n")
    except OSError as error:
        raise KeyringError(f"{path}: {error.strerror}") from error
    if missing and not make:
        raise KeyringError(f"{path} holds no keys; stoker nats-accounts {folder} makes them")
    return Keyring(folder, seeds)


def read_seeds(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise KeyringError(f"{path} cannot be read; without it nobody is let in") from error
    return dict(found)


def new_seed(name: str) -> str:
    return Key.new(OPERATOR if name == "operator" else ACCOUNT).seed
