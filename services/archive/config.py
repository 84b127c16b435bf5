"""What can be set of the archive?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchiveConfig:
    """All times in seconds."""

    seal_after: float = 60.0
    """How long a log rests in the stream after its attempt ended: sealing is in no hurry."""
    late: float = 60.0
    """How long after an end the rest of a log may come, before it is a gap."""
    sweep_every: float = 30.0
    seal_messages: int = 64
    """A running attempt's log is sealed once it has this many messages in the stream."""
    side_by_side: int = 2
    """Logs that are sealed at one time."""
