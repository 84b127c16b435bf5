"""What are the two accounts, services and workers, in the words of NATS? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bus.keys import Key
from bus.permissions import BORDER, Grants, Role
from bus.tokens import signed

NO_LIMITS = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True}
STORE = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
SECOND = 1_000_000_000
Scopes = Iterable[tuple[Role, str]]
"""Roles, and the public halves of the keys that sign their users."""


def operator_token(operator: Key, system_account: str, now: int) -> str:
    nats = {"type": "operator", "version": 2, "system_account": system_account}
    return signed({"sub": operator.public, "name": "stoker", "iat": now, "nats": nats}, operator)


def account_claims(name: str, public: str, **fields: Any) -> dict[str, Any]:
    """Without a time: what an account is, whenever it was signed."""
    limits = {**NO_LIMITS, "conn": -1, "leaf": 0, **fields.pop("limits", {})}
    nats = {"type": "account", "version": 2, "limits": limits, **fields}
    return {"sub": public, "name": name, "nats": nats}


def main_account(public: str, scopes: Scopes) -> dict[str, Any]:
    """Of the services: JetStream is here. ``scopes``: its roles and their keys."""
    exports = [
        {
            "name": crossing.name,
            "subject": crossing.subject,
            "type": crossing.kind,
            **({"response_type": "Stream"} if crossing.many else {}),
        }
        for crossing in BORDER
    ]
    signing = [scope(role, key) for role, key in scopes]
    return account_claims("STOKER", public, limits=STORE, exports=exports, signing_keys=signing)


def fleet_account(
    public: str,
    main: str,
    scopes: Scopes,
    revoked: Mapping[str, int],
) -> dict[str, Any]:
    """Of the workers: no JetStream, and of the services' account only what crosses the border.

    ``revoked``: public key to Unix seconds; tokens of that key from before then do not count.
    """
    imports = [
        {
            "name": crossing.name,
            "subject": crossing.subject,
            "account": main,
            "type": crossing.kind,
        }
        for crossing in BORDER
    ]
    signing = [scope(role, key) for role, key in scopes]
    return account_claims(
        "FLEET",
        public,
        imports=imports,
        signing_keys=signing,
        revocations=dict(sorted(revoked.items())),
    )


def scope(role: Role, key: str) -> dict[str, Any]:
    """A signing key whose users may do what the role may, and no more."""
    template: dict[str, Any] = {
        "pub": allowed(role.publish),
        "sub": allowed(role.subscribe),
        "subs": role.subscriptions,
        "data": -1,
        "payload": role.payload,
        "allowed_connection_types": ["STANDARD"],
    }
    if role.responds:
        template["resp"] = {"max": 1, "ttl": int(role.responds * SECOND)}
    if role.bearer:
        template["bearer_token"] = True
    return {"kind": "user_scope", "key": key, "role": role.name, "template": template}


def allowed(grants: Grants) -> dict[str, list[str]]:
    found = {"allow": list(grants.allow), "deny": list(grants.deny)}
    return {name: subjects for name, subjects in found.items() if subjects}


def account_token(claims: Mapping[str, Any], operator: Key, now: int) -> str:
    return signed({**claims, "iat": now}, operator)
