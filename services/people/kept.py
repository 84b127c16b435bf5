"""What is kept in the bucket ``people``, and under which keys?"""

from __future__ import annotations

import hashlib

from pydantic import Field

from schemas.message import Message
from schemas.people import Role
from schemas.people_requests import ShareView, TokenView, UserView

ADMINS = "admins"
KEY = "key"


class Admins(Message):
    """Under ``admins``: who rules. One value, so that two cannot remove each other."""

    ids: dict[str, str] = Field(default_factory=dict)
    """User's name to the ``id`` of the user that is meant."""
    first: str
    """Whom the first start has made."""


class SigningKey(Message):
    """Under ``key``: what secrets are derived from and cookies are sealed with.

    Alone it opens nothing: each secret needs the request of the one who asked for it, too.
    """

    key: bytes


class User(Message):
    """Under ``user.<name>``."""

    name: str
    id: str
    """Of this user: a later one of the same name does not inherit sessions and tokens."""
    request: str = ""
    """Digest of the one that made it."""
    role: Role
    """While they are not among the admins."""
    teams: tuple[str, ...] = ()
    email: str = ""
    password: str = ""
    """Its argon2id hash."""
    issuer: str = ""
    created_at: float
    created_by: str = ""
    seen_at: float | None = None

    def view(self, role: Role) -> UserView:
        return UserView(
            name=self.name,
            role=role,
            teams=self.teams,
            email=self.email,
            password=bool(self.password),
            issuer=self.issuer,
            created_at=self.created_at,
            created_by=self.created_by,
            seen_at=self.seen_at,
        )


class Owned(Message):
    """What belongs to a user, and ends with them."""

    user_id: str


class Session(Owned):
    """Under ``session.<user>.<id>``; ``id`` is the beginning of ``digest``."""

    digest: str
    """sha256 of its secret."""
    by_link: bool = False
    address: str = ""
    """Where it began."""
    created_at: float
    seen_at: float


class Token(Owned):
    """Under ``token.<user>.<id>``; ``id`` likewise."""

    digest: str
    name: str
    scope: Role
    created_at: float
    expires_at: float | None = None
    used_at: float | None = None
    revoked_at: float | None = None
    """Kept for a while, so that the request that made it does not make it again."""

    def view(self, user: str, id: str) -> TokenView:
        return TokenView(
            id=id,
            user=user,
            name=self.name,
            scope=self.scope,
            created_at=self.created_at,
            expires_at=self.expires_at,
            last_used_at=self.used_at,
        )


class Link(Owned):
    """Under ``link.<user>``: at most one a user."""

    digest: str
    expires_at: float
    used_by: str = ""
    """Digest of the session that it began: the request that used it may be repeated."""


class Share(Message):
    """Under ``share.<job>.<id>``."""

    digest: str
    by: str
    user_id: str
    """Of who shares; empty where nobody has to sign in. It ends with them."""
    created_at: float
    expires_at: float
    revoked_at: float | None = None

    def view(self, job: str, id: str) -> ShareView:
        return ShareView(
            id=id, job=job, by=self.by, created_at=self.created_at, expires_at=self.expires_at
        )


class Known(Message):
    """Under ``known.<digest of issuer and subject>``: whom an identity provider vouched for."""

    user: str
    user_id: str


class Tries(Message):
    """Under ``tries.<digest>``: failed sign-ins of one name, or from one address."""

    count: int
    at: float
    """The last one."""


def user_key(name: str) -> str:
    return f"user.{name}"


def session_key(user: str, id: str) -> str:
    return f"session.{user}.{id}"


def token_key(user: str, id: str) -> str:
    return f"token.{user}.{id}"


def link_key(user: str) -> str:
    return f"link.{user}"


def share_key(job: str, id: str) -> str:
    return f"share.{job}.{id}"


def known_key(issuer: str, subject: str) -> str:
    return f"known.{hashed(issuer, subject)}"


def tries_key(kind: str, who: str) -> str:
    return f"tries.{hashed(kind, who)}"


def hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
