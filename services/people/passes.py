"""What do the secrets look like that are handed out, and what is kept of them?

A cookie is ``<user>.<secret>.<seal>``, a token ``stk_<user>_<secret>``, a one-time link
``<user>.<secret>``, a shared one ``<job>.<secret>``. What stands before the secret says where to
look; the hash that is kept decides. A cookie's seal refuses a forged one without a look.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from schemas.ids import JOB_ID, USER_NAME

PREFIX = "stk_"
SECRET_LENGTH = 64
"""Hexadecimal digits."""
SEAL_LENGTH = 32
ID_LENGTH = 20
"""Of the digest: enough to tell two apart, too little to find the secret."""
LONGEST = 256
"""Characters of anything that is looked at."""


class Pass(NamedTuple):
    """A secret, and the name that it came with: a user's, or a job's."""

    name: str
    secret: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @property
    def id(self) -> str:
        return self.digest[:ID_LENGTH]

    def proves(self, digest: str) -> bool:
        return hmac.compare_digest(self.digest, digest)


class Maker:
    """Makes them with the key of the bucket ``people``."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def derive(self, kind: str, name: str, request: str) -> Pass:
        """The same request gets the same secret; nobody guesses it without both."""
        return Pass(name, self._sign("secret", kind, name, request))

    def cookie(self, one: Pass) -> str:
        return f"{one.name}.{one.secret}.{self._seal(one)}"

    def read_cookie(self, text: str) -> Pass | None:
        """None where it was not sealed here."""
        plain, _, seal = text[: LONGEST + 1].rpartition(".")
        one = read_plain(plain)
        if one is None or not hmac.compare_digest(self._seal(one).encode(), seal.encode()):
            return None
        return one

    def _seal(self, one: Pass) -> str:
        return self._sign("seal", one.name, one.secret)[:SEAL_LENGTH]

    def _sign(self, *parts: str) -> str:
        text = "\0".join(parts).encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def token_text(one: Pass) -> str:
    return f"{PREFIX}{one.name}_{one.secret}"


def read_token(text: str) -> Pass | None:
    if not text.startswith(PREFIX):
        return None
    name, _, secret = text[len(PREFIX) : LONGEST].rpartition("_")
    return checked(name, secret)


def plain_text(one: Pass) -> str:
    """Of a link."""
    return f"{one.name}.{one.secret}"


def read_plain(text: str) -> Pass | None:
    name, _, secret = text[:LONGEST].rpartition(".")
    return checked(name, secret)


def checked(name: str, secret: str) -> Pass | None:
    """None for what could not be one: no key of the bucket is made of it."""
    good = len(secret) == SECRET_LENGTH and secret.isascii() and secret.isalnum()
    return Pass(name, secret) if good and is_name(name) else None


def is_name(text: str) -> bool:
    """Of a user or a job. ``$`` alone would let a line's end through."""
    return bool(USER_NAME.fullmatch(text) or JOB_ID.fullmatch(text))
