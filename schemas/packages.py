"""What is installed in an environment, and under which name is the list of it kept? Pure."""

from __future__ import annotations

import hashlib
import zlib
from typing import Annotated

from pydantic import Field

from schemas.message import Message

MOST_BYTES = 256 << 10
"""Of one list: about 8,000 packages."""
PACKED_MOST = MOST_BYTES + 1024
CUT = "# … and more: the list was cut here"


class KeepPackages(Message):
    """``stoker.req.environments.packages.<worker>``: kept under its digest, for ever or until too
    many others were."""

    job: str
    attempt: int
    nonce: str
    packed: Annotated[bytes, Field(max_length=PACKED_MOST)]


class BadPackages(ValueError):
    """This is no packed list."""


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def packed(text: str) -> bytes:
    return zlib.compress(text.encode(), 9)


def unpacked(data: bytes) -> str:
    """Raises ``BadPackages``: a few bytes may claim to be very many."""
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(data, MOST_BYTES)
        if not reader.eof:
            raise BadPackages(f"a list of packages may have {MOST_BYTES} bytes")
        return text.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise BadPackages(f"this is no list of packages: {error}") from error


def bounded(text: str) -> str:
    """Whole lines of it, as many as may be kept."""
    data = text.encode("utf-8", "replace")
    if len(data) <= MOST_BYTES:
        return data.decode()
    room = MOST_BYTES - len(CUT.encode()) - 1
    whole, _, _ = data[:room].rpartition(b"\n")
    return f"{whole.decode()}\n{CUT}\n"
