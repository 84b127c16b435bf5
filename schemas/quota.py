"""How much may one user have at one time, and how much is it now?"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from schemas.message import Message

LONGEST_USER = 256
"""Characters of a name."""
MOST = 1 << 62


class Kind(StrEnum):
    """What is limited."""

    RUNNING = "running"
    """Jobs from when they are handed out until they end."""
    QUEUED = "queued"
    """Jobs that wait: submitted, and not yet on a machine."""
    STORAGE = "storage"
    """Bytes of the bundles of all their jobs, each bundle once."""
    UPLOAD = "upload"
    """Bytes of one upload."""

    @property
    def bytes(self) -> bool:
        return self in (Kind.STORAGE, Kind.UPLOAD)


class Quota(Message):
    """What one user may have; None: as much as they like."""

    running: int | None = None
    queued: int | None = None
    storage: int | None = None
    upload: int | None = None

    def limit(self, kind: Kind) -> int | None:
        found: int | None = getattr(self, kind.value)
        return found

    def but(self, changes: Mapping[Kind, int | None]) -> Quota:
        return self.model_copy(update={kind.value: value for kind, value in changes.items()})


class UserQuota(Message):
    """Kept in the bucket ``quotas``: where one user's limits are others than everybody's."""

    user: str
    limits: dict[Kind, int | None] = Field(default_factory=dict)
    """Only those that were set; None: no limit."""
    by: str = ""
    """The admin who set them last."""
    at: float = 0.0
    """Unix seconds."""


class ListQuotas(Message):
    """``stoker.req.scheduler.quotas``: of one user, or of all that have limits of their own."""

    user: str | None = None


class Quotas(Message):
    """The limits that hold for everybody, and those users who have others."""

    everybody: Quota
    users: tuple[UserQuota, ...] = ()

    def of(self, user: str) -> Quota:
        own = next((one for one in self.users if one.user == user), None)
        return self.everybody.but(own.limits) if own else self.everybody


class SetQuota(Message):
    """``stoker.req.scheduler.set-quota``; what is not named stays."""

    user: str
    limits: dict[Kind, int | None] = Field(default_factory=dict)
    clear: tuple[Kind, ...] = ()
    """What is everybody's again."""
    by: str
    address: str = ""


class GetUsage(Message):
    """``stoker.req.catalog.usage``: what does a user have now?"""

    user: str
    since: int = 0
    """Sequence of ``JOBS`` that has to be counted in; the catalog waits for it, for a moment."""
    bundle: str | None = None
    """Is this one of theirs already?"""


class Usage(Message):
    running: int = 0
    """Jobs that were handed out and did not end."""
    queued: int = 0
    """Jobs that wait; those that were handed out and not taken yet count in both."""
    storage: int = 0
    has_bundle: bool = False
    sequence: int = 0
    """Up to which ``JOBS`` is counted."""
