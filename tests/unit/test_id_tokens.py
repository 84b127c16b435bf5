"""Which ID tokens count? The provider's, for us, for this sign-in, now."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from ui.id_tokens import BadToken, read_keys, read_token

ISSUER, CLIENT, NONCE = "https://id.example", "stoker", "n0nce"
RSA = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
STRANGER = RSAKey.generate_key(2048, {"kid": "one"})
KEYS = read_keys(
    {
        "keys": [
            RSA.as_dict(private=False),
            EC.as_dict(private=False),
            {"kty": "from the future"},
            {"kty": "oct", "k": "AAAA", "kid": "shared"},
            "nonsense",
        ]
    }
)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": ISSUER, "aud": CLIENT, "sub": "42", "nonce": NONCE, "iat": now, "exp": now + 60}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(body: dict[str, Any], key: Any = RSA, alg: str = "RS256", **header: Any) -> str:
    head = {"alg": alg, "kid": key.kid, **header}
    return jwt.encode(head, body, key, algorithms=[alg])


def read(token: str) -> dict[str, Any]:
    return read_token(KEYS, token, ISSUER, CLIENT, NONCE)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("key", "alg"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256")], ids=["rs256", "ps256", "es256"]
)
def test_the_providers_own_signature_counts(key: Any, alg: str) -> None:
    assert read(signed(claims(), key, alg))["sub"] == "42"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"azp": "another"},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 300},
        {"sub": 42},
        {"nonce": None},
        {"nonce": "other"},
        {"exp": None},
        {"exp": int(time.time()) - 120},
        {"iat": None},
        {"iat": int(time.time()) + 3600},
        {"nbf": int(time.time()) + 3600},
    ],
    ids=lambda changes: "-".join(changes) + f"-{len(str(changes)) % 97}",
)
def test_a_claim_that_does_not_fit_lets_nobody_in(changes: dict[str, Any]) -> None:
    with pytest.raises(BadToken):
        read(signed(claims(**changes)))


def test_several_readers_are_fine_where_it_was_made_for_us() -> None:
    assert read(signed(claims(aud=[CLIENT, "another"], azp=CLIENT)))["sub"] == "42"


def test_clocks_may_differ_by_a_minute() -> None:
    assert read(signed(claims(exp=int(time.time()) - 30)))["sub"] == "42"


def test_forged_signatures_count_for_nothing() -> None:
    plain = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(claims())}"
    mac = hmac.digest(RSA.as_pem(private=False), plain.encode(), "sha256")
    confused = f"{plain}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    unsigned = f"{part({'alg': 'none'})}.{part(claims())}."
    good = signed(claims())
    head, body, tail = good.split(".")
    other = f"{head}.{part(claims(sub='1'))}.{tail}"
    own_key = signed(claims(), STRANGER, jwk=STRANGER.as_dict(private=False))
    for token in (
        signed(claims(), STRANGER),
        own_key,
        confused,
        unsigned,
        other,
        f"{head}.{body}.",
    ):
        with pytest.raises(BadToken):
            read(token)


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "a.b.c.d.e", "." * 5, "é", "x" * 100_000],
    ids=["empty", "x", "three", "five", "dots", "letter", "long"],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(BadToken):
        read(token)


def test_a_key_that_is_not_known_yet_is_told_apart() -> None:
    fresh = RSAKey.generate_key(2048, {"kid": "three"})
    with pytest.raises(BadToken) as caught:
        read(signed(claims(), fresh))
    assert caught.value.unknown_key
    with pytest.raises(BadToken) as caught:
        read(signed(claims(), STRANGER))
    assert not caught.value.unknown_key, "its name is known: fetching keys anew would not help"
