"""Which limits hold for which user? Those of everybody, and where an admin set others, those."""

from __future__ import annotations

import logging

from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Conflict, Corrupt
from bus.follow import follow
from bus.kv import OPERATION, Bucket
from schemas.quota import Kind, Quota, Quotas, SetQuota, UserQuota

log = logging.getLogger(__name__)


class QuotaTable:
    """The bucket ``quotas``, as this process last heard."""

    def __init__(self, bus: Bus, everybody: Quota) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, "quotas")
        self._everybody = everybody
        self._own: dict[str, UserQuota] = {}
        self._users: dict[str, str] = {}
        """Key to user."""

    async def load(self) -> None:
        for key, entry in (await self._bucket.all()).items():
            self._take(key, entry.value)

    async def listen(self) -> None:
        """Takes in what was set through other replicas, for ever."""
        async for delivery in follow(self._bus, "KV_quotas", "$KV.quotas.>", last_per_subject=True):
            key = delivery.subject.removeprefix("$KV.quotas.")
            if OPERATION in delivery.headers:
                self._own.pop(self._users.pop(key, ""), None)
            else:
                self._take(key, delivery.data)

    def _take(self, key: str, data: bytes) -> None:
        try:
            quota = decode(UserQuota, data, None)
        except Corrupt as error:
            log.error("the quota %s cannot be read: %s", key, error)
            return
        self._users[key] = quota.user
        self._own[quota.user] = quota

    def of(self, user: str) -> Quota:
        own = self._own.get(user)
        return self._everybody.but(own.limits) if own else self._everybody

    def limits_anybody(self, kind: Kind) -> bool:
        everybody = self._everybody.limit(kind) is not None
        return everybody or any(own.limits.get(kind) is not None for own in self._own.values())

    async def read(self, user: str | None) -> Quotas:
        """As it is stored now: what was set a moment ago is seen."""
        if user is None:
            entries = list((await self._bucket.all()).values())
        else:
            found = await self._bucket.get(key_of(user))
            entries = [found] if found else []
        users = [decode(UserQuota, entry.value, None) for entry in entries]
        return Quotas(
            everybody=self._everybody, users=tuple(sorted(users, key=lambda one: one.user))
        )

    async def change(self, asked: SetQuota, now: float) -> UserQuota:
        """What the user's own limits are then."""
        key = key_of(asked.user)
        while True:
            found = await self._bucket.get(key)
            before = decode(UserQuota, found.value, None) if found else UserQuota(user=asked.user)
            limits = {k: v for k, v in before.limits.items() if k not in asked.clear}
            after = UserQuota(
                user=asked.user, limits={**limits, **asked.limits}, by=asked.by, at=now
            )
            data = encode(after)[0]
            try:
                if found:
                    await self._bucket.update(key, data, found.revision)
                else:
                    await self._bucket.create(key, data)
            except Conflict:
                continue
            self._take(key, data)
            return after


def key_of(user: str) -> str:
    """A key of the bucket: one token, whatever characters a name has."""
    return f"user.{user.encode().hex()}"
