"""Who asks, and what may a person be?"""

from __future__ import annotations

from enum import StrEnum

from schemas.message import Message


class Role(StrEnum):
    """What a person may be; each may do what the ones before it may."""

    VIEWER = "viewer"
    """Sees jobs."""
    MEMBER = "member"
    """Submits jobs, and stops those that they see as their own."""
    ADMIN = "admin"
    """Everything, for everybody."""

    @property
    def rank(self) -> int:
        return tuple(Role).index(self)

    def capped(self, scope: Role) -> Role:
        """The lesser of both: what a token of that scope lets somebody do."""
        return min(self, scope, key=lambda role: role.rank)


class Way(StrEnum):
    """How somebody showed who they are."""

    LOCAL = "local"
    """Sign-in is switched off: whoever reaches the page."""
    SESSION = "session"
    TOKEN = "token"
    SHARE = "share"
    """By the link of one job."""


class Principal(Message):
    """Who asks: the answer of ``people.check``, and what every decision of access is made from."""

    name: str
    """A user's name: the owner of what they submit."""
    role: Role
    sees: tuple[str, ...] | None = ()
    """Owners whose jobs they see: themselves and who shares a team with them; None: everybody."""
    jobs: tuple[str, ...] = ()
    """Single jobs that were shared with them by a link."""
    way: Way
    key: str = ""
    """Id of the session or the token: never its secret."""
    expires_at: float | None = None
    """Unix seconds."""
