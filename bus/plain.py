"""What does a message say, for a person to read? Imports nothing that starts slowly."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from schemas.message import Message


def decode_any(data: bytes, type_name: str | None = None) -> Any:
    """A message as JSON can hold it: a control message's fields, or else its text.

    Fields at their default are not sent; ``type_name`` (``JobFact`` or ``JobFact/1``) adds them.
    Raises ``ValueError`` where there is no such type or the bytes are not one.
    """
    if type_name is not None:
        return describe(filled_in(data, type_name))
    try:
        value = msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException):
        return text_or_size(data)
    # Every control message is a map; other bytes may look like msgpack by accident ("7" is 55).
    return describe(value) if isinstance(value, dict) else text_or_size(data)


def filled_in(data: bytes, type_name: str) -> dict[str, Any]:
    from bus import codec, errors  # pydantic takes ten times as long to start as the rest

    wanted = type_name.split("/", 1)[0]
    for kind in message_types():
        if kind.__name__ == wanted:
            try:
                return codec.decode(kind, data, None).model_dump()
            except errors.Corrupt as error:
                raise ValueError(str(error)) from error
    raise ValueError(f"there is no message type {wanted}")


def message_types() -> Iterator[type[Message]]:
    """Each that ``schemas`` has; no two have one name."""
    import schemas
    from schemas.message import Message

    for found in pkgutil.iter_modules(schemas.__path__, "schemas."):
        module = importlib.import_module(found.name)
        for kind in vars(module).values():
            ours = isinstance(kind, type) and issubclass(kind, Message)
            if ours and kind.__module__ == module.__name__:
                yield kind


def describe(value: Any) -> Any:
    """msgpack's values as JSON can hold them: bytes as text, or as their length."""
    match value:
        case bytes():
            return text_or_size(value)
        case dict():
            return {str(key): describe(item) for key, item in value.items()}
        case list() | tuple():
            return [describe(item) for item in value]
        case str() | int() | float() | bool() | None:
            return value
        case _:
            return str(value)


def text_or_size(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"<{len(data)} bytes>"
