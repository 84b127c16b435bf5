"""What of a cache goes, and in which order? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DAY = 86_400.0
HOUR = 3600.0
"""Age in seconds past which what nobody finished or claims is taken for left behind."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A bundle, an environment, an image: it can be had again."""

    name: str
    used_at: float
    """Unix seconds of the last use."""
    size: int = 0
    """Bytes, as far as they are known."""
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """How much stays."""

    kept: int
    """Most things of one kind."""
    unused: float = 30 * DAY
    """Seconds after which one goes that nobody used."""
    spared: float = 600.0
    """Seconds for which one stays in any case: somebody may be about to use it."""


def going(things: Iterable[Thing], rule: Rule, now: float, wanted: int = 0) -> list[Thing]:
    """The longest unused first: by age, by number, and until ``wanted`` bytes are freed."""
    all_of_them = list(things)
    surplus = len(all_of_them) - rule.kept
    idle = [one for one in all_of_them if not one.busy and now - one.used_at >= rule.spared]
    found: list[Thing] = []
    freed = 0
    for one in sorted(idle, key=lambda thing: thing.used_at):
        if now - one.used_at < rule.unused and len(found) >= surplus and freed >= wanted:
            break
        found.append(one)
        freed += one.size
    return found
