"""What do NATS's tokens say, and how are they signed? Pure: times and keys come in.

The format is that of NATS's own tools (version 2): who reads ours needs nothing of Stoker.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bus.keys import BadKey, Key, read_credentials

HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
INBOX = "inbox:"
"""A tag of ours: the client's inbox is ``_INBOX_`` and what follows."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token speaks of."""

    name: str
    public: str
    """Its key."""
    tags: tuple[str, ...]
    issued_at: int
    """Unix seconds."""
    expires_at: int | None

    @property
    def inbox(self) -> str | None:
        """The prefix of its inboxes; None for a token that is not ours."""
        names = [tag.removeprefix(INBOX) for tag in self.tags if tag.startswith(INBOX)]
        return f"_INBOX_{names[0]}" if names else None

    @property
    def pool(self) -> str | None:
        """Of a worker: whose tickets it may take."""
        pools = [tag.removeprefix("pool:") for tag in self.tags if tag.startswith("pool:")]
        return pools[0] if pools else None


@dataclass(frozen=True, slots=True)
class Issuer:
    """The account and role that users are made for."""

    account: str
    key: Key


def user_token(
    issuer: Issuer, name: str, public: str, now: int, *, tags: Iterable[str] = (), life: int = 0
) -> str:
    """``life`` in seconds, 0 for ever."""
    claims: dict[str, Any] = {"sub": public, "name": name, "iat": now}
    if life:
        claims["exp"] = now + life
    nats = {"type": "user", "version": 2, "issuer_account": issuer.account}
    claims["nats"] = {**nats, "tags": [INBOX + name, *tags]}
    return signed(claims, issuer.key)


def signed(claims: dict[str, Any], key: Key) -> str:
    claims = {**claims, "iss": key.public}
    claims["jti"] = hashlib.sha256(compact(claims)).hexdigest()[:40]
    text = f"{packed(compact(HEADER))}.{packed(compact(claims))}"
    return f"{text}.{packed(key.sign(text.encode()))}"


def compact(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_claims(token: str) -> dict[str, Any]:
    """What a token says; whether it is true, the server knows. Raises ``BadKey``."""
    try:
        claims = json.loads(unpacked(token.split(".")[1]))
    except (IndexError, ValueError) as error:
        raise BadKey("this is no NATS token") from error
    if not isinstance(claims, dict):
        raise BadKey("this is no NATS token")
    return claims


def identity_of(credentials: Path) -> Identity:
    """Raises ``BadKey`` and ``OSError``."""
    return read_identity(read_credentials(credentials)[0])


def read_identity(token: str) -> Identity:
    """Raises ``BadKey``."""
    claims = read_claims(token)
    nats = claims.get("nats") or {}
    return Identity(
        str(claims.get("name", "")),
        str(claims.get("sub", "")),
        tuple(nats.get("tags") or ()),
        int(claims.get("iat", 0)),
        claims.get("exp"),
    )
