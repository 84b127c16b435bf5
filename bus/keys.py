"""What is an nkey, and how does a NATS identity fit into a file?

Nothing of NATS's client is needed here; the package that signs loads when a key is first used.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from bus.errors import BusError

OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3
"""Kinds of keys: the first byte of what is written down."""
CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
{token}
------END NATS USER JWT------

The private half of this key belongs to nobody else.
-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


class BadKey(BusError):
    """What was read is no key, or not its signature."""


class Key:
    """A pair of which both halves are known."""

    def __init__(self, seed: str) -> None:
        """Raises ``BadKey``."""
        import nkeys

        try:
            self._pair = nkeys.from_seed(bytearray(seed.encode()))
            self.public: str = self._pair.public_key.decode()
        except (nkeys.NkeysError, ValueError) as error:
            raise BadKey("this is not the seed of an nkey") from error
        self.seed = seed

    @classmethod
    def new(cls, kind: int) -> Key:
        import nkeys

        return cls(nkeys.encode_seed(os.urandom(32), kind).decode())

    def sign(self, data: bytes) -> bytes:
        signature: bytes = self._pair.sign(data)
        return signature


def verify(public: str, data: bytes, signature: bytes) -> None:
    """Raises ``BadKey`` unless the other half of that user's key signed ``data``."""
    import nacl.exceptions
    import nacl.signing

    try:
        nacl.signing.VerifyKey(raw_user(public)).verify(data, signature)
    except (nacl.exceptions.CryptoError, ValueError) as error:
        raise BadKey("the signature is not that of the key") from error


def raw_user(public: str) -> bytes:
    """The 32 bytes of a user's public key. Raises ``BadKey``."""
    try:
        raw = base64.b32decode(public)
    except (binascii.Error, ValueError) as error:
        raise BadKey("this is no public nkey") from error
    if (
        len(raw) != 35
        or raw[0] != USER
        or binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little")
    ):
        raise BadKey("this is no user's public nkey")
    return raw[1:-2]


def credentials(token: str, key: Key) -> str:
    """The text of a .creds file."""
    return CREDENTIALS.format(token=token, seed=key.seed)


def read_credentials(path: Path) -> tuple[str, str]:
    """Token and seed of a .creds file. Raises ``BadKey`` and ``OSError``."""
    lines = path.read_text().splitlines()
    found = [
        lines[at + 1].strip()
        for at, line in enumerate(lines[:-1])
        if "BEGIN NATS USER JWT" in line or "BEGIN USER NKEY SEED" in line
    ]
    if len(found) != 2:
        raise BadKey(f"{path} is no credentials file")
    return found[0], found[1]


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and readable by its owner alone."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
