"""Which scalars does one event of TensorBoard hold? Pure.

An event is a protobuf message (``event.proto``, ``summary.proto``, ``tensor.proto``) of which a few
fields matter here: they are read by number, everything else is passed over. A scalar is either a
``simple_value``, as PyTorch writes it, or a tensor of one number, as TensorFlow 2 and Keras do.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SIZES = {FIXED64: 8, FIXED32: 4}
VARINT_BYTES = 10
SIGN, WHOLE = 1 << 63, 1 << 64
SCALARS = ("", "scalars")
"""Plugins whose tensors are scalars; none is named after a tag's first event."""
NOTHING = memoryview(b"")
FLOAT = struct.Struct("<f")
DOUBLE = struct.Struct("<d")
FORMATS = {
    1: "<f", 2: "<d", 3: "<i", 4: "<B", 5: "<h", 6: "<b", 9: "<q", 10: "<?",
    17: "<H", 19: "<e", 22: "<I", 23: "<Q",
}  # fmt: skip
"""Number of a tensor's type, and how its elements are laid out."""
BFLOAT16, HALF = 14, 19
VALUES = frozenset({5, 6, 7, 10, 11, 13, 16, 17})
"""Fields of a tensor that hold its elements one by one, each for some of the types."""


class Malformed(Exception):
    """These bytes are no such message."""


class Scalar(NamedTuple):
    tag: str
    step: int
    time: float
    """Unix seconds."""
    value: float


class Field(NamedTuple):
    number: int
    kind: int
    whole: int
    """Of a varint."""
    part: memoryview
    """Of any other kind."""


def scalars_of(record: bytes) -> list[Scalar]:
    """Raises ``Malformed``."""
    time, step = 0.0, 0
    summaries: list[memoryview] = []
    for number, kind, whole, part in fields(memoryview(record)):
        if (number, kind) == (1, FIXED64):
            time = DOUBLE.unpack(part)[0]
        elif (number, kind) == (2, VARINT):
            step = signed(whole)
        elif (number, kind) == (5, BYTES):
            summaries.append(part)
    if not math.isfinite(time):
        raise Malformed("an event without a time")
    named = (found for summary in summaries for found in values_of(summary))
    return [Scalar(tag, step, time, value) for tag, value in named]


def values_of(summary: memoryview) -> Iterator[tuple[str, float]]:
    for number, kind, _, part in fields(summary):
        if (number, kind) == (1, BYTES):
            tag, value = value_of(part)
            if tag and value is not None:
                yield tag, value


def value_of(data: memoryview) -> tuple[str, float | None]:
    """Of one ``Summary.Value``; None where it is no scalar."""
    tag, plugin, value = "", "", None
    tensor: memoryview | None = None
    for number, kind, _, part in fields(data):
        match number, kind:
            case 1, 2:
                tag = text(part)
            case 2, 5:
                value = float(FLOAT.unpack(part)[0])
            case 8, 2:
                tensor = part
            case 9, 2:
                plugin = text(within(within(part, 1), 1))
    if tensor is not None and plugin in SCALARS:
        return tag, number_of(tensor)
    return tag, value


def number_of(tensor: memoryview) -> float | None:
    """The one element of a tensor; None where it has none, more, or one that is no number."""
    type, count = 0, 1
    content, element = NOTHING, None
    for field in fields(tensor):
        if (field.number, field.kind) == (1, VARINT):
            type = field.whole
        elif (field.number, field.kind) == (2, BYTES):
            count = size_of(field.part)
        elif (field.number, field.kind) == (4, BYTES):
            content = field.part
        elif field.number in VALUES and element is None:
            element = field
    if count != 1:
        return None
    return decoded(type, content) if len(content) else one_of(type, element)


def size_of(shape: memoryview) -> int:
    """How many elements a tensor of that shape has."""
    dimensions = [part for number, kind, _, part in fields(shape) if (number, kind) == (2, BYTES)]
    return math.prod(whole_within(dimension, 1) for dimension in dimensions)


def decoded(type: int, content: memoryview) -> float | None:
    if type == BFLOAT16 and len(content) == 2:
        return float(FLOAT.unpack(b"\0\0" + content)[0])
    layout = FORMATS.get(type)
    if layout is None or struct.calcsize(layout) != len(content):
        return None
    return float(struct.unpack(layout, content)[0])


def one_of(type: int, field: Field | None) -> float | None:
    """An element that stands alone, packed or not."""
    if field is None:
        return None
    if field.number in (5, 6):
        wide = 4 if field.number == 5 else 8
        layout = FLOAT if wide == 4 else DOUBLE
        return float(layout.unpack(field.part[:wide])[0]) if len(field.part) >= wide else None
    if type not in FORMATS and type != BFLOAT16:
        return None
    whole = field.whole if field.kind == VARINT else varint(field.part, 0)[0]
    if type in (BFLOAT16, HALF):
        return decoded(type, memoryview((whole & 0xFFFF).to_bytes(2, "little")))
    return float(signed(whole))


# ---- the wire's format


def fields(data: memoryview) -> Iterator[Field]:
    """Raises ``Malformed``."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            whole, at = varint(data, at)
            yield Field(number, kind, whole, NOTHING)
            continue
        if kind == BYTES:
            size, at = varint(data, at)
        elif kind in SIZES:
            size = SIZES[kind]
        else:
            raise Malformed(f"no kind of field: {kind}")
        if at + size > len(data):
            raise Malformed("a field that ends too early")
        yield Field(number, kind, 0, data[at : at + size])
        at += size


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at ``at`` and where it ends."""
    whole = 0
    for index in range(min(VARINT_BYTES, len(data) - at)):
        byte = data[at + index]
        whole |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return whole % WHOLE, at + index + 1
    raise Malformed("a number that does not end")


def signed(whole: int) -> int:
    return whole - WHOLE if whole >= SIGN else whole


def within(data: memoryview, wanted: int) -> memoryview:
    """The last field of that number; nothing where there is none."""
    found = NOTHING
    for number, kind, _, part in fields(data):
        if (number, kind) == (wanted, BYTES):
            found = part
    return found


def whole_within(data: memoryview, wanted: int) -> int:
    found = 0
    for number, kind, whole, _ in fields(data):
        if (number, kind) == (wanted, VARINT):
            found = whole
    return found


def text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")
