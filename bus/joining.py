"""How does a machine become a worker? It is told one line, makes its own key, and shows one half.

The key's private half never leaves the machine. What a worker knows of itself lies in one folder:
``worker.creds``, readable by its owner alone, ``join.json`` with whom it joined, and ``ca.pem`` of
who vouches for their servers.
"""

from __future__ import annotations

import binascii
import json
import os
import ssl
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from bus.keys import USER, BadKey, Key, credentials, read_credentials, write_private
from bus.link import BusConfig
from bus.tokens import packed, read_identity, unpacked
from schemas.identity import Enrol, Enrolled, Renew, proof

PREFIX = "stoker-join-"
JOIN_SECONDS = 30.0
CREDENTIALS, KEY, JOINED = "worker.creds", "worker.nk", "join.json"
AUTHORITY = "ca.pem"


class JoinError(BusError):
    """The machine cannot join; the message says what to change."""


@dataclass(frozen=True)
class JoinToken:
    """What ``stoker worker invite`` hands out."""

    servers: tuple[str, ...]
    token: str
    """It may do nothing but join, once, and runs out."""
    worker: str
    pool: str
    authority: str = ""
    """The certificate authority that alone vouches for the servers, as text for this token."""

    @property
    def authority_pem(self) -> str:
        """Raises ``JoinError``."""
        try:
            return ssl.DER_cert_to_PEM_cert(unpacked(self.authority)) if self.authority else ""
        except (ValueError, binascii.Error) as error:
            raise JoinError("the authority in this join token is broken; invite anew") from error

    def __str__(self) -> str:
        return PREFIX + packed(json.dumps(asdict(self), separators=(",", ":")).encode())

    @classmethod
    def read(cls, text: str) -> JoinToken:
        """Raises ``JoinError``."""
        try:
            table = json.loads(unpacked(text.strip().removeprefix(PREFIX)))
            return cls(**{**table, "servers": tuple(table["servers"])})
        except (ValueError, binascii.Error, TypeError, KeyError) as error:
            text = "this is no join token; copy the whole line of the invitation"
            raise JoinError(text) from error


@dataclass(frozen=True)
class Membership:
    """What a machine knows once it has joined."""

    servers: tuple[str, ...]
    worker: str
    pool: str
    credentials: Path
    invitation: str = ""
    """Which one was used."""
    authority: Path | None = None
    """Who alone vouches for the servers."""


def membership(folder: Path) -> Membership | None:
    """None where this machine has not joined."""
    path = folder / CREDENTIALS
    with suppress(OSError, ValueError, KeyError, TypeError, BadKey):
        read_credentials(path)
        table = json.loads((folder / JOINED).read_text())
        table["servers"] = tuple(table["servers"])
        return Membership(credentials=path, authority=pinned(folder), **table)
    return None


async def join(text: str, folder: Path) -> Membership:
    """Joins, or takes up where an earlier try was cut off. Raises ``JoinError``, ``BusError``."""
    token = JoinToken.read(text)
    invitation = read_identity(token.token)
    known = membership(folder)
    if known is not None and known.invitation == invitation.name:
        return known
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, authority = kept_key(folder), pin(folder, token)
    settings = BusConfig(
        token.servers, "join", f"_INBOX_{invitation.name}", token=token.token,
        connect_timeout=JOIN_SECONDS, authority=str(authority) if authority else None,
    )  # fmt: skip
    asked = Enrol(key=key.public, signature=key.sign(proof(invitation.name, key.public)))
    async with Bus.connect(settings) as bus:
        subject = subjects.request("identity", "enrol", invitation.name)
        answer = await bus.request(subject, asked, Enrolled)
    made = Membership(
        token.servers, answer.worker, answer.pool, folder / CREDENTIALS, invitation.name, authority
    )
    settle(folder, made, credentials(answer.token, key))
    return made


def pin(folder: Path, token: JoinToken) -> Path | None:
    """From now on that authority alone counts: the line came by a way that its sender trusts."""
    if token.authority:
        write_private(folder / AUTHORITY, token.authority_pem)
    else:
        (folder / AUTHORITY).unlink(missing_ok=True)
    return pinned(folder)


def pinned(folder: Path) -> Path | None:
    return folder / AUTHORITY if (folder / AUTHORITY).exists() else None


def packed_authority(path: Path) -> str:
    """As a join token holds it. Raises ``JoinError``."""
    try:
        return packed(ssl.PEM_cert_to_DER_cert(path.read_text().strip()))
    except OSError as error:
        raise JoinError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise JoinError(f"{path} is not one certificate in PEM; name the authority's") from error


def settle(folder: Path, made: Membership, text: str) -> None:
    """Writes down who this machine is: the credentials last, as only they count."""
    joined = {**asdict(made), "servers": list(made.servers)}
    del joined["credentials"], joined["authority"]
    write_private(folder / JOINED, json.dumps(joined) + "\n")
    write_private(made.credentials, text)
    (folder / KEY).unlink(missing_ok=True)


def kept_key(folder: Path) -> Key:
    """Made once for each time that the machine joins: a repeated try shows the same one."""
    path = folder / KEY
    with suppress(OSError, BadKey):
        return Key(path.read_text().strip())
    key = Key.new(USER)
    write_private(path, key.seed + "\n")
    os.chmod(folder, 0o700)
    return key


async def renew(bus: Bus, path: Path) -> None:
    """Another while for the same key. Raises ``BusError``."""
    token, seed = read_credentials(path)
    subject = subjects.request("identity", "renew", read_identity(token).name)
    answer = await bus.request(subject, Renew(), Enrolled)
    key = Key(seed)
    if read_identity(answer.token).public != key.public:
        raise BusError("the renewed token is for another key")
    write_private(path, credentials(answer.token, key))
