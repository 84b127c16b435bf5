"""How many columns of a terminal does a character take?"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

NOT_NARROW = re.compile(
    "[^\x20-\xac\xae-\u02ff\u0370-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205f\u20a0-\u20cf"
    "\u2190-\u22ff\u2500-\u25fc\u25ff\u2800-\u28ff\udc80-\udcff]"
)
"""Finds the first character that may not take exactly one column; progress bars have none."""


@lru_cache(8192)
def width(character: str) -> int:
    """0, 1 or 2; an undecodable byte (a lone surrogate) is shown as one."""
    if character == "\xad" or "\udc80" <= character <= "\udcff":
        return 1
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    if category == "Cn":  # Newer than this Python's tables: likely one more emoji.
        return 2 if "\U0001f000" <= character < "\U00040000" else 1
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
