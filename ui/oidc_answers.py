"""What do the answers of a provider of OpenID Connect mean, and which of them are believed?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
BASIC = "client_secret_basic"


class ProviderAway(Exception):
    """It did not answer, or not in a way that makes sense."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the provider is asked what."""

    authorize: str
    token: str
    keys: str
    userinfo: str = ""
    auth_methods: tuple[str, ...] = (BASIC,)
    tells_issuer: bool = False
    """Whether each of its answers says whose it is (RFC 9207)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider vouches for."""

    subject: str
    name: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()


def read_answer(status: int, data: bytes, address: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if status != 200 or not isinstance(value, dict):
        why = value.get("error", "") if isinstance(value, dict) else ""
        raise ProviderAway(f"{address} answered {status} {str(why)[:100]}")
    return value


def read_endpoints(told: Mapping[str, Any], issuer: str) -> Endpoints:
    """Raises ``ProviderAway`` where it is somebody else, or where a line of it is not private."""
    if told.get("issuer") != issuer:
        raise ProviderAway(f"it calls itself {str(told.get('issuer'))[:200]!r}, not {issuer!r}")
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    authorize, token, keys = (str(told.get(name, "")) for name in names)
    userinfo = str(told.get("userinfo_endpoint", ""))
    for address in (authorize, token, keys, *([userinfo] if userinfo else [])):
        if not is_private(address):
            raise ProviderAway(f"its address {address[:200]!r} is not HTTPS")
    methods = told.get("token_endpoint_auth_methods_supported") or (BASIC,)
    return Endpoints(
        authorize,
        token,
        keys,
        userinfo=userinfo,
        auth_methods=tuple(str(method) for method in methods),
        tells_issuer=told.get("authorization_response_iss_parameter_supported") is True,
    )


def is_private(address: str) -> bool:
    """HTTPS, or this very machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))


def identity_of(claims: Mapping[str, Any], groups_claim: str) -> Identity:
    """An e-mail address counts where the provider says that it has looked."""
    groups = claims.get(groups_claim)
    listed = groups if isinstance(groups, list) else [groups]
    email = claims.get("email") if claims.get("email_verified") is True else ""
    name = claims.get("preferred_username") or claims.get("nickname") or claims.get("name") or ""
    return Identity(
        subject=str(claims["sub"]),
        name=str(name)[:200],
        email=str(email or "")[:254],
        groups=tuple(str(group)[:200] for group in listed if isinstance(group, str))[:500],
    )
