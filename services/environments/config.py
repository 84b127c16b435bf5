"""What can be set of the environments service? Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

HOUR, DAY = 3600.0, 86_400.0


@dataclass(frozen=True)
class EnvironmentsConfig:
    """Built images are shared within a pool: its workers trust each other, and no others."""

    lease: float = 30.0
    """A builder that is silent for so long is given up; an election of the bus takes up to 9 s."""
    share_begins: float = 20.0
    """So long a builder may take to begin to share what somebody wants."""
    nudge_every: float = 5.0
    alone_for: float = HOUR
    """So long nobody tries again to share what could not be shared."""
    most_bytes: int = 100 << 30
    """Of all shared images; the longest unused go first."""
    most_entries: int = 2000
    """Environments that are known at one time, of all pools; likewise."""
    most_image: int = 48 << 30
    unused: float = 30 * DAY
    """A shared image that nobody asked for goes after it."""
    forgotten: float = DAY
    """What is known of a build that came to nothing goes after it."""
    spared: float = HOUR
    """So long something stays in any case: somebody may be about to use it."""
    sweep_every: float = 60.0
    orphans_every: float = HOUR
