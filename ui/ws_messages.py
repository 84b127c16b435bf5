"""How do messages look on a WebSocket, made once for all who get the same?

A server's frames are not masked (RFC 6455, 5.1), so that the same bytes do for every viewer; none
of our sockets compresses.
"""

from __future__ import annotations

from collections.abc import Iterable

TEXT, BINARY = 0x81, 0x82
"""First byte of a message in one frame."""


class Messages:
    """Some messages as they go over the line, one behind the other."""

    __slots__ = ("binary", "data")

    def __init__(self, messages: Iterable[bytes | str]) -> None:
        messages = list(messages)
        self.data = b"".join(part for message in messages for part in framed(message))
        self.binary = sum(len(message) for message in messages if isinstance(message, bytes))
        """Bytes of the binary ones, without what frames them."""


def framed(message: bytes | str) -> tuple[bytes, bytes]:
    kind, body = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
    size = len(body)
    if size < 126:
        return bytes((kind, size)), body
    if size < 1 << 16:
        return bytes((kind, 126)) + size.to_bytes(2, "big"), body
    return bytes((kind, 127)) + size.to_bytes(8, "big"), body
