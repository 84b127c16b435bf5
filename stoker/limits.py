"""Which limits do ``running=8 storage=20g`` stand for?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stoker.answers import StokerError

KINDS = {"running": False, "queued": False, "storage": True, "upload": True}
"""What is limited, and whether in bytes."""
MOST = 1 << 62
EXAMPLE = "write running=8, queued=100, storage=50g, upload=2g, or =none for no limit"


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit."""

    set: Mapping[str, int | None] = field(default_factory=dict)
    clear: tuple[str, ...] = ()
    """Those that are everybody's again."""


def read_limits(flag: str, words: Iterable[str]) -> Limits:
    """Raises ``StokerError``."""
    found: dict[str, int | None] = {}
    clear = []
    for word in words:
        kind, equals, text = word.partition("=")
        if kind not in KINDS or not equals:
            raise StokerError(f"{flag} {word}: {EXAMPLE}")
        if text == "default":
            clear.append(kind)
        else:
            found[kind] = read_limit(flag, word, kind, text)
    return Limits(found, tuple(clear))


def read_limit(flag: str, word: str, kind: str, text: str) -> int | None:
    from schemas.spec import parse_size

    if text == "none":
        return None
    try:
        limit = parse_size(text) if KINDS[kind] else int(text)
    except (ValueError, OverflowError):
        raise StokerError(f"{flag} {word}: {EXAMPLE}") from None
    if not 0 <= limit <= MOST:
        raise StokerError(f"{flag} {word}: a limit is 0 or more")
    return limit


def everybodys(words: Iterable[str]) -> Mapping[str, int | None]:
    """Of the flag ``--quota`` of services: what holds where nothing else is set."""
    limits = read_limits("--quota", words)
    if limits.clear:
        raise StokerError(f"--quota {limits.clear[0]}=default: leave it out")
    return limits.set
