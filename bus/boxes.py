"""How is something closed so that one reader alone can open it?

Sealed: for a public key, by anybody. Locked: by a key that both sides have. The package that does
it loads when it is first used.
"""

from __future__ import annotations

import os

from bus.errors import BusError
from bus.keys import BadKey, raw_user

KEY_BYTES = 32


class Unreadable(BusError):
    """It was not closed for this key, or was changed since."""


def new_pair() -> tuple[bytes, bytes]:
    """Private and public half of a key to seal for."""
    import nacl.public

    private = nacl.public.PrivateKey.generate()
    return bytes(private), bytes(private.public_key)


def pair_of(secret: bytes, purpose: bytes) -> tuple[bytes, bytes]:
    """Always the same pair for one secret and purpose (16 bytes at most)."""
    import nacl.encoding
    import nacl.hash
    import nacl.public

    seed = nacl.hash.blake2b(
        b"", KEY_BYTES, secret, person=purpose, encoder=nacl.encoding.RawEncoder
    )
    private = nacl.public.PrivateKey(seed)
    return bytes(private), bytes(private.public_key)


def public_of_user(nkey: str) -> bytes:
    """To seal for whoever has the other half of that user's nkey. Raises ``BadKey``."""
    import nacl.signing

    return bytes(nacl.signing.VerifyKey(raw_user(nkey)).to_curve25519_public_key())


def private_of_user(seed: str) -> bytes:
    """Opens what was sealed for the public half of this nkey. Raises ``BadKey``."""
    import nacl.signing

    return bytes(nacl.signing.SigningKey(raw_seed(seed)).to_curve25519_private_key())


def raw_seed(seed: str) -> bytes:
    import nkeys

    try:
        return bytes(nkeys.decode_seed(bytearray(seed.encode()))[1])
    except (nkeys.NkeysError, ValueError) as error:
        raise BadKey("this is not the seed of an nkey") from error


def seal(public: bytes, data: bytes) -> bytes:
    """Raises ``Unreadable`` for what is no key."""
    import nacl.exceptions
    import nacl.public

    try:
        return bytes(nacl.public.SealedBox(nacl.public.PublicKey(public)).encrypt(data))
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise Unreadable("nothing can be sealed for this key") from error


def unseal(private: bytes, sealed: bytes) -> bytes:
    """Raises ``Unreadable``."""
    import nacl.exceptions
    import nacl.public

    try:
        return nacl.public.SealedBox(nacl.public.PrivateKey(private)).decrypt(sealed)
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise Unreadable("it was not sealed for this key") from error


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def lock(key: bytes, data: bytes, place: bytes) -> bytes:
    """XChaCha20-Poly1305; ``place`` says where it belongs: elsewhere it cannot be opened."""
    import nacl.secret

    return bytes(nacl.secret.Aead(key).encrypt(data, place))


def unlock(key: bytes, locked: bytes, place: bytes) -> bytes:
    """Raises ``Unreadable``."""
    import nacl.exceptions
    import nacl.secret

    try:
        return nacl.secret.Aead(key).decrypt(locked, place)
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise Unreadable("it was not locked by this key, or belongs elsewhere") from error
