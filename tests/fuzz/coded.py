"""Is a message that cannot be read always told as such, whatever its bytes are?"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import msgpack
from hypothesis import strategies as st

import schemas
from bus.blocks import pack_block, unpack_block
from bus.codec import decode, encode
from bus.errors import Corrupt
from bus.plain import decode_any
from bus.row_blocks import unpack_runs
from schemas.log import LogChunk, Span, Stream, log_headers, read_log
from schemas.message import Message
from tests.fuzz.rounds import Target


def kinds() -> list[type[Message]]:
    """Every message that there is."""
    found: dict[str, type[Message]] = {}
    for module in pkgutil.iter_modules(schemas.__path__, "schemas."):
        for _, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(one, Message) and one is not Message:
                found[one.__name__] = one
    return [found[name] for name in sorted(found)]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def messages(draw: st.DrawFn) -> tuple[type[Message], bytes]:
    """A kind, and bytes that are nearly one of it."""
    kind = draw(st.sampled_from(kinds()))
    fields = {name: VALUES for name in kind.model_fields}
    body = draw(st.fixed_dictionaries({}, optional=fields) | VALUES)
    return kind, damaged(draw, packed(body))


def packed(body: object) -> bytes:
    data: bytes = msgpack.packb(body, use_bin_type=True)
    return data


def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Sometimes cut, lengthened, or with other bytes in it."""
    match draw(st.integers(0, 5)):
        case 0:
            return data[: draw(st.integers(0, len(data)))]
        case 1:
            return data + draw(st.binary(min_size=1, max_size=8))
        case 2 if data:
            at = draw(st.integers(0, len(data) - 1))
            return data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at + 1 :]
        case 3:
            return b"\x91" * draw(st.integers(1, 3000)) + data
    return data


def read_message(given: tuple[type[Message], bytes]) -> None:
    kind, data = given
    try:
        message = decode(kind, data, None)
    except Corrupt:
        return
    again, headers = encode(message)
    same = decode(kind, again, headers)
    assert encode(same)[0] == again


def read_plainly(given: tuple[type[Message], bytes]) -> None:
    """As ``stoker decode`` shows it to people."""
    kind, data = given
    try:
        decode_any(data, kind.__name__)
    except ValueError:
        return


WORDS = st.text(max_size=30) | st.sampled_from(["o5", "0:3,e:4", "-1", "1e400", "nan", "9" * 30])


@st.composite
def logs(draw: st.DrawFn) -> tuple[dict[str, str], bytes]:
    data = draw(st.binary(max_size=200))
    spans = (Span(draw(st.sampled_from(list(Stream))), len(data)),)
    headers = log_headers(LogChunk(1, 0, draw(st.integers(0, 1 << 50)), 2.0, spans, data))
    changed = draw(st.dictionaries(st.sampled_from(sorted(headers)), WORDS, max_size=2))
    left_out = draw(st.sets(st.sampled_from(sorted(headers)), max_size=1))
    return {k: v for k, v in {**headers, **changed}.items() if k not in left_out}, data


def read_log_message(given: tuple[dict[str, str], bytes]) -> None:
    """These two are what its readers take for a message that is none."""
    headers, data = given
    try:
        chunk = read_log(1, 0, headers, data)
    except (KeyError, ValueError):
        return
    assert chunk.data == data


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    texts = draw(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4))
    chunks: list[LogChunk] = []
    offset = 0
    for text in texts:
        spans = (Span(Stream.STDOUT, len(text)),)
        chunks.append(LogChunk(1, 0, offset, float(len(chunks)), spans, text))
        offset += len(text)
    sound = pack_block(chunks)
    return damaged(draw, sound) if draw(st.booleans()) else repacked(draw, sound)


def repacked(draw: st.DrawFn, sound: bytes) -> bytes:
    """Sound to its decompressor, with other contents."""
    import zstandard

    held: Any = msgpack.unpackb(zstandard.decompress(sound))
    if isinstance(held, dict):
        held.update(draw(st.dictionaries(st.sampled_from(sorted(held)), VALUES, max_size=2)))
    return zstandard.compress(damaged(draw, packed(held)))


def read_block(data: bytes) -> None:
    for read in (lambda: unpack_block(1, 0, data), lambda: unpack_runs(1, data)):
        try:
            read()
        except Corrupt:
            continue


TARGETS = (
    Target("a message of any kind", messages(), read_message),
    Target("the same as stoker decode reads it", messages(), read_plainly),
    Target("the headers of a log's message", logs(), read_log_message),
    Target("a sealed block of a log, or of its rows", blocks(), read_block),
)
