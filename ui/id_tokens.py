"""Is this ID token the provider's, for us, for this sign-in, and now? By joserfc."""

from __future__ import annotations

import hmac
from typing import Any

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "Ed25519")
"""With the provider's private key: never ``none``, never a secret that we know, too."""
LEEWAY = 60
"""Seconds by which two clocks may differ."""
LONGEST = 64 * 1024
MOST_KEYS = 100


class BadToken(Exception):
    """The token does not show who it is."""

    def __init__(self, why: str, *, unknown_key: bool = False) -> None:
        super().__init__(why)
        self.unknown_key = unknown_key


def read_keys(told: dict[str, Any]) -> Any:
    """The provider's keys for signatures; those that are not known here are left out."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, KeySet

    found = []
    for one in list(told.get("keys") or ())[:MOST_KEYS]:
        if not isinstance(one, dict) or one.get("kty") == "oct" or one.get("use", "sig") != "sig":
            continue
        try:
            found.append(JWKRegistry.import_key(one))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return KeySet(found)


def read_token(keys: Any, token: str, issuer: str, client: str, nonce: str) -> dict[str, Any]:
    """What it claims. Raises ``BadToken``."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    if not token or len(token) > LONGEST:
        raise BadToken("there is no ID token")
    try:
        read = jwt.decode(token, keys, algorithms=ALGORITHMS)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        unknown = is_unknown_key(token, keys)
        raise BadToken(f"its signature does not count: {error}", unknown_key=unknown) from error
    claims: dict[str, Any] = dict(read.claims)
    wanted = jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True},
    )
    try:
        wanted.validate(claims)
    except JoseError as error:
        raise BadToken(str(error)) from error
    check_rest(claims, client, nonce)
    return claims


def check_rest(claims: dict[str, Any], client: str, nonce: str) -> None:
    if not hmac.compare_digest(str(claims["nonce"]).encode(), nonce.encode()):
        raise BadToken("it is of another sign-in")
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or "azp" in claims) and claims.get("azp") != client:
        raise BadToken("it was made for another client")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise BadToken("its subject is none")


def is_unknown_key(token: str, keys: Any) -> bool:
    """Whether it names a key that is not among ours."""
    from joserfc import jws
    from joserfc.errors import JoseError

    try:
        named = jws.extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError, TypeError, KeyError):
        return False
    return named is None or all(key.kid != named for key in keys.keys)
