"""Which bytes of a log does a terminal obey, and which does it show?"""

from __future__ import annotations

import re

from bus import sgr

_STRING = rb"\x1b[\]PX^_][^\x00-\x1f]{0,4096}"
"""A title, a link: up to a bell or ``ESC \\``. Longer ones, and those over the end of a line, are
none: else a stray ``ESC ]`` would swallow the rest of the log."""

TOKEN = re.compile(
    rb"(?P<text>[^\x00-\x08\x0a-\x1f\x7f]+)"
    rb"|(?P<newline>\n)"
    rb"|(?P<back>\r+)"
    rb"|(?P<sgr>" + sgr.PATTERN + rb")"
    rb"|\x1b\[(?P<private>[<=>?]?)(?P<parameters>[0-9;:]{0,128})[ -/]{0,4}(?P<control>[@-~])"
    rb"|" + _STRING + rb"(?:\x07|\x1b\\)"
    rb"|\x1b[ -/]{1,4}[0-~]|\x1b[0-Z\\-~]|\x08+|[\x00-\x07\x0b-\x1a\x1c-\x1f\x7f]+|\x1b"
)
"""Matches at every byte."""

SECOND = re.compile(
    rb"[\x00-\x08\x0b-\x1f\x7f]"
    rb"(?:(?<![\r\x1b])|(?<=\r)(?!\n)|(?<=\x1b)(?!\[[0-9;:]{0,128}m))"
)
"""The first place at which more is wanted than printing line after line, in colours."""

_UNFINISHED = re.compile(
    rb"(?:\r"
    rb"|\x1b(?:\[[<=>?]?[0-9;:]{0,128}[ -/]{0,4}|[ -/]{1,4}"
    rb"|[\]PX^_][^\x00-\x1f]{0,4096}\x1b?)?"
    rb"|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)
_LONGEST_UNFINISHED = 4100
_CONTROLS = bytes([*range(9), 11, 12, *range(14, 27), *range(28, 32), 127])
_STRAY_ESCAPE = re.compile(rb"\x1b(?!\[[0-9;:]{0,128}m)")


def is_plain(data: bytes) -> bool:
    """Whether it is lines of text, in colours at most: three scans at the speed of memory."""
    return (
        len(data.translate(None, _CONTROLS)) == len(data)
        and (b"\r" not in data or data.count(b"\r") == data.count(b"\r\n"))
        and not (b"\x1b" in data and _STRAY_ESCAPE.search(data))
    )


def whole(data: bytes) -> int:
    """Up to where ``data`` holds whole characters and sequences; what comes may finish the rest."""
    start = max(0, len(data) - _LONGEST_UNFINISHED)
    last = data.rfind(b"\x1b", start)
    if last >= 0:
        # A string ends in ESC \: then the escape that began it is the one before.
        for at in (data.rfind(b"\x1b", start, last), last):
            if at >= 0 and _UNFINISHED.match(data, at):
                return at
    found = _UNFINISHED.search(data, max(0, len(data) - 3))
    return found.start() if found else len(data)
