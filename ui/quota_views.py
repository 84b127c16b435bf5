"""How are quotas shown and set over HTTP?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.message import Message
from schemas.quota import MOST, Kind, Quota, UserQuota


class Used(Message):
    """What a user has now, up to a moment ago."""

    running: int
    """Jobs that were handed out and did not end."""
    queued: int
    """Jobs that wait for a worker."""
    storage: int
    """Bytes of the bundles of all their jobs, each bundle once."""


class QuotaView(Message):
    """One user's limits (null: none), and what is used of them."""

    user: str
    limits: Quota
    own: tuple[Kind, ...] = ()
    """Those of the limits that are set for this user alone."""
    used: Used


class QuotaList(Message):
    everybody: Quota
    """What holds where nothing else is set."""
    users: tuple[UserQuota, ...]
    """Those who have limits of their own."""


class QuotaBody(Message):
    limits: dict[Kind, Annotated[int, Field(ge=0, le=MOST)] | None] = Field(default_factory=dict)
    """What to set; null: no limit. Bytes for storage and upload."""
    clear: tuple[Kind, ...] = ()
    """What is to be everybody's again."""
