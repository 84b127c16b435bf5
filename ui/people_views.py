"""What goes in and out over HTTP where it is about people?"""

from __future__ import annotations

from schemas.message import Message
from schemas.people import Principal, Role
from schemas.people_requests import ShareView


class SignInBody(Message):
    """A name and a password, or the secret of a one-time link."""

    name: str = ""
    password: str = ""
    link: str = ""


class Me(Principal):
    """Who has signed in just now."""

    password: bool
    """Whether they have one."""


class PasswordBody(Message):
    old: str = ""
    """Not needed where there is none, or right after a one-time link."""
    new: str


class UserBody(Message):
    """What is left out stays as it is."""

    role: Role | None = None
    teams: tuple[str, ...] | None = None
    email: str | None = None
    new: bool = False
    """Refused where there is such a user already."""


class LifeBody(Message):
    seconds: float | None = None
    """For how long; the usual time where it is left out."""


class TokenBody(Message):
    name: str
    """What it is for."""
    scope: Role = Role.VIEWER
    seconds: float | None = None
    """None: until it is revoked."""
    user: str = ""
    """For somebody else: only an admin."""


class SignInLink(Message):
    link: str
    """Path of the page that it opens; shown this once."""
    expires_at: float


class ShareLink(Message):
    link: str
    """Path of the page that it opens; shown this once."""
    share: ShareView
