"""What can be set of the service ``people``?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schemas.people import Role

DAY = 86_400.0


@dataclass(frozen=True)
class PeopleConfig:
    """One replica."""

    groups: Mapping[str, Role] = field(default_factory=dict)
    """Group of the identity provider to role; ``*`` for everybody whom it vouches for."""
    idle: float = DAY
    """Seconds after which an unused session ends."""
    life: float = 7 * DAY
    """Seconds after which any session ends."""
    seen_every: float = 300.0
    """Seconds: how exactly the last use of a session is known."""
    used_every: float = 60.0
    """Seconds: the same of a token."""
    hashes_at_once: int = 2
    """Passwords that are looked at in parallel: 19 MiB and 60 ms of a core each."""
    hashes_waiting: int = 16
    """That wait for their turn; one more is refused."""
    sweep_every: float = 600.0
    first: str = ""
    """Name of the admin of a first start; empty: somebody else asks for it."""
    link_file: Path | None = None
    """Where that admin's one-time link is written to, for its owner alone to read."""
    page: str = ""
    """The page's address, for that link."""
