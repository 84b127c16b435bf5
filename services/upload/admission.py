"""May this owner submit one more job, and this bundle with it?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from bus import subjects
from bus.connection import Bus
from bus.errors import BusError
from bus.follow import last_sequence
from bus.quotas import QuotaTable
from schemas.problem import Problem
from schemas.quota import GetUsage, Usage
from services.upload.refusals import BadBundle

TURNS = 256
"""Submissions of limited owners that are decided at one time."""
ANSWER_SECONDS = 3.0
"""The catalog waits for a second itself."""
AGAIN_AFTER = 30
"""Seconds after which a full queue may have room: nobody knows when its jobs go."""
UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


class OverQuota(BadBundle):
    """It would be more than its owner may have; says the limit and what is used."""

    @property
    def problem(self) -> Problem:
        return Problem(
            code=self.code,
            title="This is more than your quota",
            status=self.status,
            detail=self.detail,
            retry_after=AGAIN_AFTER if self.status == 429 else None,
        )


class Admission:
    """Decides for one replica. Each has one submission of an owner in hand at a time, and counts
    all that was stored before it decides: together they admit at most as many jobs beyond a limit
    as there are other replicas."""

    def __init__(self, bus: Bus, quotas: QuotaTable) -> None:
        self._bus = bus
        self._quotas = quotas
        self._turns = tuple(asyncio.Lock() for _ in range(TURNS))

    def most(self, owner: str) -> int | None:
        """Bytes that one upload may have."""
        return self._quotas.of(owner).upload

    def counts(self, owner: str) -> bool:
        """Whether it matters what they have already."""
        quota = self._quotas.of(owner)
        return quota.queued is not None or quota.storage is not None

    @contextlib.asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """From the check until the job is stored."""
        async with self._turns[hash(owner) % TURNS]:
            yield

    def check_upload(self, owner: str, size: int) -> None:
        """Raises ``OverQuota``."""
        most = self.most(owner)
        if most is not None and size > most:
            raise OverQuota(
                "quota_upload",
                f"the upload has {told(size)}; your limit is {told(most)} for one upload:"
                " leave out data and checkpoints",
                413,
            )

    async def check_queued(self, owner: str) -> None:
        """Raises ``OverQuota``."""
        if self._quotas.of(owner).queued is not None:
            self._check_queued(owner, await self._usage(owner))

    async def check_storage(self, owner: str, bundle: str, size: int) -> None:
        """Raises ``OverQuota``. ``size`` counts where none of their jobs has the bundle."""
        if self._quotas.of(owner).storage is not None:
            self._check_storage(owner, await self._usage(owner, bundle), size)

    async def check(self, owner: str, bundle: str, size: int) -> None:
        """Both. Raises ``OverQuota``."""
        usage = await self._usage(owner, bundle)
        self._check_queued(owner, usage)
        self._check_storage(owner, usage, size)

    def _check_queued(self, owner: str, usage: Usage) -> None:
        limit = self._quotas.of(owner).queued
        if limit is not None and usage.queued >= limit:
            raise OverQuota(
                "quota_queued",
                f"{usage.queued} of your jobs wait already, and your limit is {limit}:"
                " let some of them start, or cancel some",
                429,
            )

    def _check_storage(self, owner: str, usage: Usage, size: int) -> None:
        limit = self._quotas.of(owner).storage
        if limit is None or usage.has_bundle or usage.storage + size <= limit:
            return
        raise OverQuota(
            "quota_storage",
            f"the bundles of your jobs have {told(usage.storage)} and this one {told(size)};"
            f" your limit is {told(limit)}: leave files out, or ask an admin for more",
            413,
        )

    async def _usage(self, owner: str, bundle: str | None = None) -> Usage:
        """With all that is stored now. Raises ``BusError`` where the catalog lags behind."""
        since = await last_sequence(self._bus, "JOBS")
        usage = await self._bus.request(
            subjects.request("catalog", "usage"),
            GetUsage(user=owner, since=since, bundle=bundle),
            Usage,
            timeout=ANSWER_SECONDS,
            attempts=2,
        )
        if usage.sequence < since:
            raise BusError(f"the catalog has counted up to {usage.sequence} of {since} facts")
        return usage


def told(size: int) -> str:
    for unit, name in UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
