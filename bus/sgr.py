"""Which colours and styles are in force after an SGR sequence?

A style is written as the one sequence that sets it from nothing; the empty one is neutral. So it
can be put before a row as it stands, compared, and kept.
"""

from __future__ import annotations

import re
from functools import lru_cache

RESET = b"\x1b[0m"
PATTERN = rb"\x1b\[[0-9;:]{0,128}m"
"""As long as any that a program prints; what is longer is no sequence."""

_PARAMETERS = re.compile(rb"\x1b\[([0-9;:]{0,128})m")

_SET = {
    **dict.fromkeys((1, 2), "weight"),
    3: "italic",
    4: "underline",
    21: "underline",
    **dict.fromkeys((5, 6), "blink"),
    7: "inverse",
    8: "hidden",
    9: "strike",
    53: "overline",
    **dict.fromkeys((*range(30, 38), *range(90, 98)), "foreground"),
    **dict.fromkeys((*range(40, 48), *range(100, 108)), "background"),
}
_UNSET = {
    22: "weight",
    23: "italic",
    24: "underline",
    25: "blink",
    27: "inverse",
    28: "hidden",
    29: "strike",
    39: "foreground",
    49: "background",
    55: "overline",
    59: "underline colour",
}
_CURLY = re.compile(rb"4:[1-5]")
_LONGEST_COLOUR = 20
"""``38:2::255:255:255`` and a little: so a whole style stays shorter than a sequence may be."""
_EXTENDED = {38: "foreground", 48: "background", 58: "underline colour"}
_INVISIBLE = frozenset({"weight", "italic", "foreground", "blink", "hidden", "underline colour"})
"""What cannot be seen on a blank."""


@lru_cache(4096)
def after(style: bytes, parameters: bytes) -> bytes:
    """The style in force when ``ESC [ parameters m`` comes in ``style``."""
    attributes = _attributes(style)
    codes = parameters.split(b";")
    while codes:
        _apply(attributes, codes)
    written = b";".join(attributes[name] for name in sorted(attributes))
    return b"\x1b[%bm" % written if written else b""


def after_all(style: bytes, data: bytes) -> bytes:
    """The style in force behind ``data`` when it begins in ``style``."""
    for parameters in _PARAMETERS.findall(data):
        style = after(style, parameters)
    return style


@lru_cache(4096)
def shows_on_blank(style: bytes) -> bool:
    """Whether a blank in this style can be seen: it has a background, or a line."""
    return bool(_attributes(style).keys() - _INVISIBLE)


def _attributes(style: bytes) -> dict[str, bytes]:
    attributes: dict[str, bytes] = {}
    codes = style[2:-1].split(b";") if style else []
    while codes:
        _apply(attributes, codes)
    return attributes


def _apply(attributes: dict[str, bytes], codes: list[bytes]) -> None:
    """Takes one attribute off the front of ``codes``."""
    written = codes.pop(0)
    code = int(written.partition(b":")[0] or b"0")
    if code == 0:
        attributes.clear()
    elif code in _EXTENDED:
        colour = written if b":" in written else _colour(written, codes)
        if 0 < len(colour) <= _LONGEST_COLOUR:
            attributes[_EXTENDED[code]] = colour
    elif code in _UNSET or written == b"4:0":
        attributes.pop(_UNSET.get(code, "underline"), None)
    elif code in _SET:
        attributes[_SET[code]] = written if _CURLY.fullmatch(written) else b"%d" % code


def _colour(kind: bytes, codes: list[bytes]) -> bytes:
    """``38;5;N`` and ``38;2;R;G;B``; empty where it is neither."""
    count = {b"5": 2, b"2": 4}.get(codes[0] if codes else b"", 0)
    taken, codes[:count] = codes[:count], []
    if not count or len(taken) < count or any(b":" in part for part in taken):
        return b""
    return b";".join([kind, *(part or b"0" for part in taken)])
