"""How does a message become bytes, and bytes a message?"""

from __future__ import annotations

from typing import TypeVar

import msgpack
from pydantic import ValidationError

from bus.errors import Corrupt
from schemas.message import Message

TYPE_HEADER = "Stoker-Type"
VERSION = 1

UNREADABLE = (ValueError, TypeError, msgpack.UnpackException, ValidationError)
"""What bytes that are no message make of themselves; ``TypeError``: a map whose key is a map."""

M = TypeVar("M", bound=Message)


def type_name(kind: type[Message]) -> str:
    return f"{kind.__name__}/{VERSION}"


def encode(message: Message) -> tuple[bytes, dict[str, str]]:
    """Bytes and the header that names their type. Fields at their default are left out."""
    body = message.model_dump(exclude_defaults=True)
    data: bytes = msgpack.packb(body, use_bin_type=True)
    return data, {TYPE_HEADER: type_name(type(message))}


def decode(kind: type[M], data: bytes, headers: dict[str, str] | None) -> M:
    """Raises ``Corrupt`` where the bytes are of another type, or none at all."""
    named = (headers or {}).get(TYPE_HEADER)
    if named is not None and named.split("/", 1)[0] != kind.__name__:
        raise Corrupt(f"expected {type_name(kind)}, got {named}")
    try:
        return kind.model_validate(msgpack.unpackb(data, strict_map_key=False))
    except UNREADABLE as error:
        raise Corrupt(f"not a {type_name(kind)}: {error}") from error
